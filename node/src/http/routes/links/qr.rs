//! `/api/v1/links/{code}/qr`: a short URL as a QR code (ISO/IEC 18004), for anybody who knows it, as an SVG or PNG image.

mod drawing;

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use qrcode::EcLevel;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use self::drawing::{Drawing, DrawingError};
use crate::http::error::documented::{LinkProblems, ServerProblems};
use crate::http::error::{Problem, ProblemBody, ProblemKind};
use crate::http::extract::{Name, Query};
use crate::http::limits::Sender;
use crate::http::routes::follow::{admit, look_up};
use crate::http::state::Api;

const DEFAULT_SIZE: u32 = 512;
const MIN_SIZE: u32 = 32;
const MAX_SIZE: u32 = 2048;
/// A short URL never changes, and so its image doesn't.
const KEPT: HeaderValue = HeaderValue::from_static("public, max-age=86400");

/// What the image is like.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct QrParams {
    /// The kind of image; `svg` unless given.
    #[param(inline)]
    format: Option<QrFormat>,
    /// Its width and height in pixels, 32 to 2,048; 512 unless given.
    #[param(minimum = 32, maximum = 2048)]
    size: Option<u32>,
    /// How much of it may be covered or damaged: about 7 % (`low`), 15 % (`medium`), 25 % (`quartile`), 30 % (`high`);
    /// `medium` unless given.
    #[param(inline)]
    level: Option<QrLevel>,
}

/// The kind of a QR code's image.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::http) enum QrFormat {
    /// Lines, for print and any size.
    Svg,
    /// Pixels, black and white.
    Png,
}

/// A QR code's error correction.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::http) enum QrLevel {
    /// About 7 %.
    Low,
    /// About 15 %.
    Medium,
    /// About 25 %.
    Quartile,
    /// About 30 %.
    High,
}

/// One bit for each pixel.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "it describes an answer, nothing is made of it")]
struct Png(Vec<u8>);

/// Get a link as a QR code
///
/// An image of the short URL, with the quiet zone of four modules that readers need. It needs no API key, so that pages
/// can show it; nothing is counted as a visit.
#[utoipa::path(
    get,
    path = "/api/v1/links/{code}/qr",
    tag = "Links",
    params(("code" = String, Path, description = "A code or alias"), QrParams),
    responses(
        (status = 200, description = "The image", content(
            (String = "image/svg+xml"),
            (inline(Png) = "image/png"),
        )),
        (status = 400, description = "`invalid-query`", body = ProblemBody, content_type = "application/problem+json"),
        LinkProblems,
        (status = 429, description = "`rate-limited`: try again after `Retry-After` seconds", body = ProblemBody,
         content_type = "application/problem+json", headers(("Retry-After" = u32, description = "Seconds"))),
        ServerProblems,
    )
)]
pub(in crate::http) async fn qr_code(
    State(api): State<Arc<Api>>,
    sender: Option<Extension<Sender>>,
    Name(code): Name,
    Query(params): Query<QrParams>,
) -> Result<Response, Problem> {
    admit(&api, sender).await?;
    let size = params.size()?;
    let link = look_up(&api, &code).await?;
    let short_url = api.short_url(&api.code(&link));
    let drawing = Drawing::of(&short_url, params.level.unwrap_or(QrLevel::Medium).into()).map_err(refuse)?;
    let (content_type, image) = match params.format.unwrap_or(QrFormat::Svg) {
        QrFormat::Svg => ("image/svg+xml", drawing.svg(size).into_bytes()),
        QrFormat::Png => ("image/png", drawing.png(size).map_err(refuse)?),
    };
    let headers = [(header::CONTENT_TYPE, HeaderValue::from_static(content_type)), (header::CACHE_CONTROL, KEPT)];
    Ok((headers, image).into_response())
}

impl QrParams {
    fn size(&self) -> Result<u32, Problem> {
        match self.size.unwrap_or(DEFAULT_SIZE) {
            size @ MIN_SIZE..=MAX_SIZE => Ok(size),
            _ => Err(Problem::new(ProblemKind::InvalidQuery, format!("use a `size` of {MIN_SIZE} to {MAX_SIZE}"))),
        }
    }
}

impl From<QrLevel> for EcLevel {
    fn from(level: QrLevel) -> Self {
        match level {
            QrLevel::Low => Self::L,
            QrLevel::Medium => Self::M,
            QrLevel::Quartile => Self::Q,
            QrLevel::High => Self::H,
        }
    }
}

fn refuse(error: DrawingError) -> Problem {
    match error {
        DrawingError::TooSmall { least } => Problem::new(
            ProblemKind::InvalidQuery,
            format!("use a `size` of at least {least}: this code needs as many"),
        ),
        error @ DrawingError::TooLong { .. } => {
            Problem::new(ProblemKind::InvalidQuery, "the short URL is too long for this `level`; use a lower one")
                .caused_by(error)
        }
        error @ DrawingError::Encode { .. } => {
            Problem::new(ProblemKind::Internal, "the image can't be made").caused_by(error)
        }
    }
}
