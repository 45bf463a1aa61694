//! Where a request gets its session: the one seam to what is kept between requests.

use ds4_engine::{Engine, EngineError, Session};

use crate::prepare::{Prepared, Way};
use crate::tenant::Tenant;

/// A session that stands where any earlier one of this tenant left off on the way of a prompt, and
/// which of the two ways that is. Dropping it after the answer leaves what it computed to the next.
///
/// # Errors
/// If the engine has no room, or is busy.
pub(crate) fn resume(
    engine: &Engine,
    tenant: Tenant,
    prepared: &Prepared,
) -> Result<(Session, Way), EngineError> {
    let tenant = ds4_engine::Tenant::of(&tenant.bytes());
    if let Some(alias) = &prepared.alias {
        let session = engine.resume(tenant, &alias.path.ids)?;
        if session.cached() >= alias.live {
            return Ok((session, Way::Alias));
        }
    }
    let session = engine.resume(tenant, &prepared.path.ids)?;
    Ok((session, Way::Exact))
}
