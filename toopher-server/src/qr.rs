//! QR codes.

use std::fmt::Write;

use crate::api_error::ApiError;

/// The margin that scanners need, in modules.
const QUIET: usize = 4;

/// A QR code as rows of `1` for dark and `0` for light, so that a page draws it without trusting markup.
pub(crate) fn rows(text: &str) -> Result<Vec<String>, ApiError> {
    let code = qrcode::QrCode::new(text).map_err(|error| ApiError::internal(&error))?;
    let modules = code.to_colors();
    let row = |row: &[qrcode::Color]| row.iter().map(|module| module.select('1', '0')).collect();
    Ok(modules.chunks(code.width()).map(row).collect())
}

/// A QR code as an element of a page, with a label that needs no escaping. It is black on white with a margin in dark
/// mode, too.
pub(crate) fn svg(text: &str, label: &'static str) -> Result<String, ApiError> {
    let rows = rows(text)?;
    let size = rows.len() + 2 * QUIET;
    let mut path = String::new();
    for (y, row) in rows.iter().enumerate() {
        for (x, _) in row.bytes().enumerate().filter(|(_, module)| *module == b'1') {
            write!(path, "M{},{}h1v1h-1z", x + QUIET, y + QUIET).map_err(|error| ApiError::internal(&error))?;
        }
    }
    Ok(format!(
        "<svg class=\"qr\" role=\"img\" aria-label=\"{label}\" viewBox=\"0 0 {size} {size}\" \
         shape-rendering=\"crispEdges\"><rect width=\"{size}\" height=\"{size}\" fill=\"#fff\"/>\
         <path d=\"{path}\" fill=\"#000\"/></svg>"
    ))
}
