//! Calls to one shard, which are made again when the server had forgotten its scripts or this client.

use std::sync::Arc;

use super::calls::Call;
use super::failure::Failure;
use super::keys::ClientId;
use super::link::{Link, MAX_TRIES};
use crate::error::{ErrorKind, Result};

/// Makes calls to one shard. Clones share its link.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    link: Arc<Link>,
    host: Arc<str>,
}

impl Caller {
    pub(super) fn new(link: Arc<Link>, host: Arc<str>) -> Self {
        Self { link, host }
    }

    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// What this process calls itself here.
    pub(super) fn client(&self) -> &ClientId {
        self.link.client()
    }

    /// Makes a call, which is made anew for each try, once the server is connected. Only a call that was not executed, because
    /// the server lacked something, is tried again, after the server was given that.
    pub(super) async fn call<C: Call>(&self, call: impl Fn(u64) -> Result<C>) -> Result<C::Reply, Failure> {
        let mut connection = self.link.connection()?;
        for _ in 0..MAX_TRIES {
            let call = call(connection.generation)?;
            let answer = if C::IS_LARGE {
                Box::pin(self.link.plain().call(&call)).await
            } else {
                connection.call(&call).await
            };
            match answer {
                Err(failure) if failure.is_forgotten => {
                    connection = self.link.healed_since(connection.epoch).await?;
                }
                outcome => return outcome,
            }
        }
        Err(Failure::new(
            ErrorKind::Connection,
            format!(
                "server {} forgot its scripts or this client {MAX_TRIES} times in a row; nothing was done",
                self.host
            ),
        ))
    }

    /// Makes a call, as `call` does. One whose reply was lost, and that may be made again, counts as not executed.
    pub(super) async fn ask<C: Call>(&self, call: impl Fn(u64) -> Result<C>) -> Result<C::Reply> {
        let outcome = self.call(call).await;
        outcome.map_err(|failure| if C::IS_REPEATABLE { failure.not_executed() } else { failure }.into())
    }
}
