use super::{Ground, beats::Chapter};
pub fn record(_: &Ground, _: &[Chapter], _: &std::path::Path) -> anyhow::Result<u8> {
    Ok(0)
}
