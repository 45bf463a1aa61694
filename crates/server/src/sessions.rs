//! Where a request gets its session: the one seam to what is kept between requests.

use ds4_engine::{Engine, EngineError, Session};

use crate::prepare::Prepared;
use crate::tenant::Tenant;
use crate::way::Way;

/// A session that stands where any earlier one of this tenant left off on the way of a prompt, and
/// which of the two ways that is: the one with less left to compute. Dropping it after the answer
/// leaves what it computed to the next.
///
/// # Errors
/// If the engine has no room, or is busy.
pub(crate) fn resume(
    engine: &Engine,
    tenant: Tenant,
    prepared: &Prepared,
) -> Result<(Session, Way), EngineError> {
    let tenant = ds4_engine::Tenant::of(&tenant.bytes());
    let resume = |way| {
        let ids = &prepared.path(way).ids;
        let session = engine.resume(tenant, ids)?;
        let left = ids.len() - session.cached() as usize;
        Ok::<_, EngineError>((session, left))
    };
    let Some(alias) = &prepared.alias else {
        return Ok((resume(Way::Exact)?.0, Way::Exact));
    };
    let (session, left) = resume(Way::Alias)?;
    if session.cached() >= alias.live {
        return Ok((session, Way::Alias));
    }
    // One at a time: there may be no more sessions than requests.
    drop(session);
    let (session, anew) = resume(Way::Exact)?;
    if anew <= left {
        return Ok((session, Way::Exact));
    }
    drop(session);
    Ok((resume(Way::Alias)?.0, Way::Alias))
}
