#[cfg(feature = "axum")]
mod browser;
mod layer;
