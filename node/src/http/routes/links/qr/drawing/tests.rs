//! What a reader finds in the images.

use super::*;

const LEVELS: [EcLevel; 4] = [EcLevel::L, EcLevel::M, EcLevel::Q, EcLevel::H];

/// What stands in an image of `width` × `width` pixels.
fn read(width: u32, dark: impl Fn(usize, usize) -> bool) -> String {
    let shade = |x, y| if dark(x, y) { 0 } else { 255 };
    let mut image = rqrr::PreparedImage::prepare_from_greyscale(width as usize, width as usize, shade);
    let grids = image.detect_grids();
    let [grid] = grids.as_slice() else { panic!("there are {} codes in the image", grids.len()) };
    grid.decode().expect("the code can be read").1
}

/// The width of a PNG image, and whether each of its pixels is dark.
fn pixels(image: &[u8]) -> (u32, Vec<bool>) {
    let mut reader = png::Decoder::new(std::io::Cursor::new(image)).read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let frame = reader.next_frame(&mut bytes).unwrap();
    assert_eq!((frame.width, frame.color_type, frame.bit_depth), (frame.height, ColorType::Grayscale, BitDepth::One));
    let dark = |x: usize, y: usize| bytes[y * frame.line_size + x / 8] & (0x80 >> (x % 8)) == 0;
    let width = frame.width as usize;
    (frame.width, (0..width * width).map(|pixel| dark(pixel % width, pixel / width)).collect())
}

/// Draws an SVG image's second path at `scale` pixels a module.
fn drawn(svg: &str, whole: u32, scale: u32) -> Vec<bool> {
    let path = svg.rsplit_once("<path d=\"").unwrap().1.split('"').next().unwrap();
    let width = (whole * scale) as usize;
    let mut dark = vec![false; width * width];
    for run in path.split('M').skip(1) {
        let (x, rest) = run.split_once(' ').unwrap();
        let (y, rest) = rest.split_once('h').unwrap();
        let length = rest.split_once('v').unwrap().0;
        let [x, y, length]: [usize; 3] = [x, y, length].map(|number| number.parse().unwrap());
        let scale = scale as usize;
        for row in y * scale..(y + 1) * scale {
            dark[row * width + x * scale..row * width + (x + length) * scale].fill(true);
        }
    }
    dark
}

#[test]
fn a_reader_finds_the_text_in_both_kinds_of_image() {
    let texts = ["https://s.example/4nBv2Kq".to_owned(), format!("https://s.example/{}", "x".repeat(64))];
    for (text, level) in texts.iter().flat_map(|text| LEVELS.map(|level| (text, level))) {
        let drawing = Drawing::of(text, level).unwrap();
        for size in [200, 333, 1024] {
            let (width, dark) = pixels(&drawing.png(size).unwrap());
            assert_eq!(width, size);
            assert_eq!(&read(size, |x, y| dark[y * size as usize + x]), text, "{level:?} at {size}");
        }
        let (whole, scale) = (drawing.whole(), 5);
        let dark = drawn(&drawing.svg(512), whole, scale);
        assert_eq!(&read(whole * scale, |x, y| dark[y * (whole * scale) as usize + x]), text, "{level:?}");
    }
}

#[test]
fn the_quiet_zone_is_at_least_four_modules_wide_on_each_side() {
    let drawing = Drawing::of("https://s.example/4nBv2Kq", EcLevel::M).unwrap();
    for size in [drawing.whole(), 100, 333, 512] {
        let (_, dark) = pixels(&drawing.png(size).unwrap());
        let quiet = (QUIET_ZONE * (size / drawing.whole())) as usize;
        let size = size as usize;
        let inside = quiet..size - quiet;
        for (pixel, _) in dark.iter().enumerate().filter(|&(_, &dark)| dark) {
            let (x, y) = (pixel % size, pixel / size);
            assert!(inside.contains(&x) && inside.contains(&y), "{x}, {y} of {size}");
        }
    }
}

#[test]
fn too_few_pixels_and_too_long_texts_are_refused() {
    let drawing = Drawing::of("https://s.example/4nBv2Kq", EcLevel::M).unwrap();
    let least = drawing.whole();
    assert!(matches!(drawing.png(least - 1), Err(DrawingError::TooSmall { least: named }) if named == least));
    assert!(drawing.png(least).is_ok());
    for (level, most) in [(EcLevel::L, 2_953), (EcLevel::H, 1_273)] {
        assert!(Drawing::of(&"x".repeat(most), level).is_ok(), "{level:?}");
        assert!(matches!(Drawing::of(&"x".repeat(most + 1), level), Err(DrawingError::TooLong { .. })), "{level:?}");
    }
}
