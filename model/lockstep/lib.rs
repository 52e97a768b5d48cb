//! Stand-ins for what `src/redis/receive/` imports, so that the model can run the crate's own `Tickets`.
#![allow(dead_code, unused_imports, reason = "the code that is taken over uses more of itself in the crate")]

mod error {
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum ErrorKind {
        Connection,
        Script,
        Closed,
    }

    #[derive(Debug)]
    pub struct Error(pub ErrorKind, pub String);

    pub type Result<T, E = Error> = std::result::Result<T, E>;

    impl Error {
        pub fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
            Self(kind, what.into())
        }

        pub fn bug(what: impl std::fmt::Display) -> Self {
            Self(ErrorKind::Script, format!("bug: {what}"))
        }
    }
}

mod layer {
    pub mod refusals {
        use crate::error::{Error, ErrorKind};
        use crate::name::ChannelName;

        pub fn closed() -> Error {
            Error::new(ErrorKind::Closed, "closed")
        }

        pub fn already_receiving(channel: &ChannelName) -> Error {
            Error::new(ErrorKind::Script, format!("{channel:?}"))
        }
    }
}

mod name {
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum ChannelKind {
        Normal,
        SingleReader,
        Inbox,
    }

    #[derive(Debug, Clone, PartialEq, Eq, Hash)]
    pub struct ChannelName(String);

    impl ChannelName {
        pub fn new(name: &str) -> Result<Self, ()> {
            Ok(Self(name.into()))
        }

        pub fn kind(&self) -> ChannelKind {
            if self.0.contains('?') { ChannelKind::SingleReader } else { ChannelKind::Normal }
        }

        pub fn queue(&self) -> &str {
            &self.0
        }

        pub fn as_str(&self) -> &str {
            &self.0
        }
    }
}

mod redis {
    pub(crate) mod calls {
        use std::sync::Arc;

        use super::entry::{Entry, EntryId};
        use crate::name::ChannelName;

        #[derive(Clone, Debug, PartialEq, Eq)]
        pub(crate) struct Finished {
            pub(crate) ticket: u64,
            pub(crate) delivered: Option<EntryId>,
        }

        #[derive(Clone, Debug)]
        pub(crate) struct OpenTicket {
            pub(crate) ticket: u64,
            pub(crate) waits: bool,
            pub(crate) channels: Arc<[ChannelName]>,
        }

        #[derive(Debug)]
        pub(crate) struct Given {
            pub(crate) ticket: u64,
            pub(crate) outcome: Outcome,
        }

        #[derive(Debug)]
        pub(crate) enum Outcome {
            Handed(Handed),
            Announced(String),
            Failed(String),
        }

        #[derive(Debug, PartialEq)]
        pub(crate) struct Handed {
            pub(crate) queue: String,
            pub(crate) first: Entry,
            pub(crate) more: Vec<Entry>,
        }

        impl Handed {
            pub(crate) fn last_id(&self) -> EntryId {
                self.more.last().unwrap_or(&self.first).id()
            }
        }
    }

    pub(crate) mod entry {
        use std::ops::Deref;

        use bytes::Bytes;

        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct EntryId(pub Vec<u8>);

        impl Deref for EntryId {
            type Target = [u8];

            fn deref(&self) -> &[u8] {
                &self.0
            }
        }

        #[derive(Clone, Debug, PartialEq)]
        pub struct Entry(Bytes);

        impl Entry {
            pub fn new(bytes: Bytes) -> Self {
                Self(bytes)
            }

            pub fn id(&self) -> EntryId {
                EntryId(self.0[..10].to_vec())
            }
        }
    }

    mod receive;
}
