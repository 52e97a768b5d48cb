//! What a receive is given: the name of one channel, or the names of several.

use crate::error::{Error, Result};
use crate::name::ChannelName;

/// The channels of a receive: one name, or several in an array, a slice or a `Vec`. A name is text or a [`ChannelName`].
///
/// ```
/// use asgi_redis::prelude::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> asgi_redis::Result<()> {
/// let layer = MemoryLayer::builder().in_memory()?;
/// layer.send("jobs", 7).await?;
/// let (_, job): (_, u32) = layer.receive("jobs").await?;
/// layer.send("jobs.urgent", &8).await?;
/// let (channel, job): (_, u32) = layer.receive(["jobs.urgent", "jobs"]).await?;
/// assert_eq!((channel.as_str(), job), ("jobs.urgent", 8));
/// # Ok(())
/// # }
/// ```
///
/// Anything else is refused by the compiler:
///
/// ```compile_fail
/// # async fn refused(layer: asgi_redis::MemoryLayer) -> asgi_redis::Result<()> {
/// use asgi_redis::prelude::*;
/// let (_, job): (_, u32) = layer.receive(7).await?;
/// # Ok(())
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` names no channels",
    label = "neither a name nor some names",
    note = "write one name, `\"jobs\"`, or several, `[\"jobs.urgent\", \"jobs\"]`; collect an iterator into a `Vec` first"
)]
pub trait ChannelNames {
    /// Parses the names.
    ///
    /// # Errors
    ///
    /// [`InvalidName`](crate::ErrorKind::InvalidName) for the first name that the rules of names refuse.
    fn into_names(self) -> Result<Vec<ChannelName>>;
}

macro_rules! one_name {
    ($($name:ty),+) => {
        $(impl ChannelNames for $name {
            fn into_names(self) -> Result<Vec<ChannelName>> {
                Ok(vec![ChannelName::try_from(self).map_err(Error::from)?])
            }
        })+
    };
}

one_name!(&str, String, &String, ChannelName, &ChannelName);

impl<N: TryInto<ChannelName, Error: Into<Error>>, const COUNT: usize> ChannelNames for [N; COUNT] {
    fn into_names(self) -> Result<Vec<ChannelName>> {
        parse_all(self)
    }
}

impl<N: TryInto<ChannelName, Error: Into<Error>>> ChannelNames for Vec<N> {
    fn into_names(self) -> Result<Vec<ChannelName>> {
        parse_all(self)
    }
}

impl<'a, N> ChannelNames for &'a [N]
where
    &'a N: TryInto<ChannelName, Error: Into<Error>>,
{
    fn into_names(self) -> Result<Vec<ChannelName>> {
        parse_all(self)
    }
}

impl<'a, N, const COUNT: usize> ChannelNames for &'a [N; COUNT]
where
    &'a N: TryInto<ChannelName, Error: Into<Error>>,
{
    fn into_names(self) -> Result<Vec<ChannelName>> {
        parse_all(self)
    }
}

impl<'a, N> ChannelNames for &'a Vec<N>
where
    &'a N: TryInto<ChannelName, Error: Into<Error>>,
{
    fn into_names(self) -> Result<Vec<ChannelName>> {
        parse_all(self)
    }
}

fn parse_all<N>(names: impl IntoIterator<Item = N>) -> Result<Vec<ChannelName>>
where
    N: TryInto<ChannelName, Error: Into<Error>>,
{
    names.into_iter().map(|name| name.try_into().map_err(Into::into)).collect()
}
