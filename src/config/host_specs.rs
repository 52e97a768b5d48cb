//! The forms in which a program gives the servers of a layer: one, an array, a slice or a `Vec`.

use super::host::HostSpec;
use super::url::split;

/// The servers of a layer: one, or several in an array, a slice or a `Vec`. A server is a URL, a pair of host name and
/// port, or a [`HostSpec`]. A single text may hold several, separated by commas, semicolons or spaces, as a variable of the
/// environment does.
///
/// ```
/// use asgi_redis::ConfigBuilder;
///
/// let one = ConfigBuilder::new().hosts("redis://127.0.0.1:6379/0").build()?;
/// let pair = ConfigBuilder::new().hosts(("127.0.0.1", 6379)).build()?;
/// let three = ConfigBuilder::new().hosts(["redis://a", "redis://b", "redis://c"]).build()?;
/// let written = ConfigBuilder::new().hosts("redis://a,redis://b,redis://c").build()?;
/// assert_eq!((one.hosts().len(), pair.hosts().len(), three.hosts().len()), (1, 1, 3));
/// assert_eq!(written.hosts().len(), 3);
/// # Ok::<(), asgi_redis::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` names no servers",
    label = "neither a server nor some servers",
    note = "write one URL, `\"redis://localhost:6379/0\"`, or several, `[\"redis://a\", \"redis://b\"]`; collect an iterator into a `Vec` first"
)]
pub trait HostSpecs {
    /// Returns the servers in their order.
    fn into_specs(self) -> Vec<HostSpec>;
}

macro_rules! one_host {
    ($($host:ty),+) => {
        $(impl HostSpecs for $host {
            fn into_specs(self) -> Vec<HostSpec> {
                vec![self.into()]
            }
        })+
    };
}

one_host!((&str, u16), (String, u16), HostSpec);

impl HostSpecs for &str {
    fn into_specs(self) -> Vec<HostSpec> {
        split(self).into_iter().map(Into::into).collect()
    }
}

impl HostSpecs for String {
    fn into_specs(self) -> Vec<HostSpec> {
        self.as_str().into_specs()
    }
}

impl HostSpecs for &String {
    fn into_specs(self) -> Vec<HostSpec> {
        self.as_str().into_specs()
    }
}

impl<H: Into<HostSpec>, const COUNT: usize> HostSpecs for [H; COUNT] {
    fn into_specs(self) -> Vec<HostSpec> {
        self.into_iter().map(Into::into).collect()
    }
}

impl<H: Into<HostSpec>> HostSpecs for Vec<H> {
    fn into_specs(self) -> Vec<HostSpec> {
        self.into_iter().map(Into::into).collect()
    }
}

impl<H: Clone + Into<HostSpec>> HostSpecs for &[H] {
    fn into_specs(self) -> Vec<HostSpec> {
        self.iter().cloned().map(Into::into).collect()
    }
}

impl<H: Clone + Into<HostSpec>, const COUNT: usize> HostSpecs for &[H; COUNT] {
    fn into_specs(self) -> Vec<HostSpec> {
        self.as_slice().into_specs()
    }
}

impl<H: Clone + Into<HostSpec>> HostSpecs for &Vec<H> {
    fn into_specs(self) -> Vec<HostSpec> {
        self.as_slice().into_specs()
    }
}
