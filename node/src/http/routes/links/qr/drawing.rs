//! A QR code as an image: whole modules, in the middle of a quiet zone of at least four. Draws, and knows no links.

use std::fmt::Write;

use png::{BitDepth, ColorType, Compression, EncodingError};
use qrcode::types::QrError;
use qrcode::{Color, EcLevel, QrCode};

/// What readers need to be free on each side, in modules.
const QUIET_ZONE: u32 = 4;

/// A QR code that is yet to become an image.
#[derive(Debug)]
pub(super) struct Drawing {
    /// Modules on each side, without the quiet zone.
    width: u32,
    /// Row by row, whether each is dark.
    modules: Vec<bool>,
}

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub(super) enum DrawingError {
    /// The text doesn't fit into any QR code of that level.
    #[error("a QR code can't hold so long a text")]
    TooLong {
        /// What the encoder says.
        #[source]
        source: QrError,
    },
    /// A module would have less than a pixel.
    #[error("a QR code needs at least {least} pixels")]
    TooSmall {
        /// How many pixels it takes.
        least: u32,
    },
    /// The encoder refused.
    #[error("the PNG image can't be encoded")]
    Encode {
        /// What it says.
        #[source]
        source: EncodingError,
    },
}

impl Drawing {
    /// The smallest QR code of `text` with this level.
    ///
    /// # Errors
    /// `TooLong` if there is none: past 2,953 bytes at the lowest level, 1,273 at the highest.
    pub(super) fn of(text: &str, level: EcLevel) -> Result<Self, DrawingError> {
        let code =
            QrCode::with_error_correction_level(text, level).map_err(|source| DrawingError::TooLong { source })?;
        let modules = code.to_colors().into_iter().map(|color| color == Color::Dark).collect();
        Ok(Self { width: u32::try_from(code.width()).expect("a QR code has at most 177 modules"), modules })
    }

    /// Modules on each side, with the quiet zone.
    const fn whole(&self) -> u32 {
        self.width + 2 * QUIET_ZONE
    }

    fn rows(&self) -> impl Iterator<Item = &[bool]> {
        self.modules.chunks_exact(self.width as usize)
    }

    /// An SVG image, `size` pixels wide unless it is scaled.
    pub(super) fn svg(&self, size: u32) -> String {
        let whole = self.whole();
        let mut dark = String::new();
        for (row, y) in self.rows().zip(QUIET_ZONE..) {
            let mut x = QUIET_ZONE;
            for run in row.chunk_by(|left, right| left == right) {
                let length = u32::try_from(run.len()).expect("a run is no longer than its row");
                if run[0] {
                    write!(dark, "M{x} {y}h{length}v1h-{length}z").expect("a string takes everything");
                }
                x += length;
            }
        }
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{size}\" height=\"{size}\" \
             viewBox=\"0 0 {whole} {whole}\" shape-rendering=\"crispEdges\"><path fill=\"#fff\" \
             d=\"M0 0h{whole}v{whole}H0z\"/><path d=\"{dark}\"/></svg>\n"
        )
    }

    /// A PNG image of `size` × `size` pixels, one bit each. Modules are whole pixels; what is left over is quiet zone.
    ///
    /// # Errors
    /// `TooSmall` if a module would have less than a pixel.
    pub(super) fn png(&self, size: u32) -> Result<Vec<u8>, DrawingError> {
        let scale = size / self.whole();
        if scale == 0 {
            return Err(DrawingError::TooSmall { least: self.whole() });
        }
        let margin = (size - scale * self.width) / 2;
        let blank = vec![0xFF_u8; size.div_ceil(8) as usize];
        let mut pixels = Vec::with_capacity(blank.len() * size as usize);
        pixels.extend(blank.repeat(margin as usize));
        for row in self.rows() {
            let mut line = blank.clone();
            for (_, x) in row.iter().zip(0..).filter(|&(&dark, _)| dark) {
                for pixel in margin + x * scale..margin + (x + 1) * scale {
                    line[pixel as usize / 8] &= !(0x80 >> (pixel % 8));
                }
            }
            pixels.extend(line.repeat(scale as usize));
        }
        pixels.resize(blank.len() * size as usize, 0xFF);
        encode(&pixels, size).map_err(|source| DrawingError::Encode { source })
    }
}

fn encode(pixels: &[u8], size: u32) -> Result<Vec<u8>, EncodingError> {
    let mut image = Vec::new();
    let mut encoder = png::Encoder::new(&mut image, size, size);
    encoder.set_color(ColorType::Grayscale);
    encoder.set_depth(BitDepth::One);
    // Four times as fast for the largest image, which a public port must answer, for one or two kilobytes more.
    encoder.set_compression(Compression::Fastest);
    encoder.write_header()?.write_image_data(pixels)?;
    Ok(image)
}

#[cfg(test)]
mod tests;
