//! The dialects: how clients ask and how they are answered. Nothing but these files knows whose
//! words a request is in.

mod bounds;
pub(crate) mod chat;
mod completions;
pub(crate) mod messages;
pub(crate) mod responses;
mod shared;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::app::App;
use crate::ask::{Ask, Serving};
use crate::config::Limits;
use crate::error::{ApiError, Family};
use crate::fields::Fields;
use crate::memory::Memory;
use crate::tenant::Tenant;
use crate::voice::Voice;

/// A dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `/v1/chat/completions`
    Chat,
    /// `/v1/completions`
    Completions,
    /// `/v1/responses`
    Responses,
    /// `/v1/messages`
    Messages,
}

impl Dialect {
    /// Where it is spoken.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Responses => "/v1/responses",
            Self::Messages => "/v1/messages",
        }
    }

    /// What is spoken at a path.
    pub(crate) fn at(path: &str) -> Option<Self> {
        let all = [
            Self::Chat,
            Self::Completions,
            Self::Responses,
            Self::Messages,
        ];
        all.into_iter().find(|dialect| dialect.path() == path)
    }

    /// Whose words its errors are in.
    pub(crate) fn family(self) -> Family {
        match self {
            Self::Chat | Self::Completions | Self::Responses => Family::OpenAi,
            Self::Messages => Family::Anthropic,
        }
    }

    /// What ids of calls begin with.
    pub(crate) fn call_prefix(self) -> &'static str {
        match self {
            Self::Chat | Self::Completions | Self::Responses => "call_",
            Self::Messages => "toolu_",
        }
    }

    /// What signatures of reasoning begin with.
    pub(crate) fn signature_prefix(self) -> &'static str {
        match self {
            // Here the signature is the name of an item as well.
            Self::Responses => "rs_",
            Self::Chat | Self::Completions | Self::Messages => "sig_",
        }
    }

    /// What a body asks for.
    ///
    /// # Errors
    /// If it is no request of this dialect, or one that cannot be served; the field is named.
    pub(crate) fn read(
        self,
        body: &Fields<'_>,
        serving: Serving,
        limits: &Limits,
        memory: Memory<'_>,
    ) -> Result<Ask, ApiError> {
        match self {
            Self::Chat => chat::read(body, serving, limits, memory),
            Self::Completions => completions::read(body, limits),
            Self::Responses => responses::read(body, serving, limits, memory),
            Self::Messages => messages::read(body, serving, limits, memory),
        }
    }

    /// Who answers it.
    pub(crate) fn voice(
        self,
        body: &Fields<'_>,
        ask: &Ask,
        app: &Arc<App>,
        tenant: Tenant,
    ) -> Result<Box<dyn Voice>, ApiError> {
        Ok(match self {
            Self::Chat => Box::new(chat::Reply::new(body, ask)?),
            Self::Completions => Box::new(completions::Reply::new(body, ask)?),
            Self::Responses => Box::new(responses::Reply::new(body, ask, app, tenant)?),
            Self::Messages => Box::new(messages::Reply::new(body, ask)?),
        })
    }
}
