//! Where a request gets its session: the one seam to what is kept between requests.

use ds4_engine::{Engine, EngineError, Session};

use crate::tenant::Tenant;

/// A session that stands where any earlier one of this tenant left off on the way of `prompt`.
/// Dropping it after the answer leaves what it computed to the next.
///
/// # Errors
/// If the engine has no room, or is busy.
pub(crate) fn resume(
    engine: &Engine,
    tenant: Tenant,
    prompt: &[u32],
) -> Result<Session, EngineError> {
    engine.resume(ds4_engine::Tenant::of(&tenant.bytes()), prompt)
}
