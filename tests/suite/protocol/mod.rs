//! What the scripts promise to a client in any language: each rule of the protocol, and each mistake that it rules out,
//! shown by raw calls from clients that share no code with the layer.

mod acknowledge;
mod capacity;
mod changes;
mod client;
mod client_tickets;
mod controls;
mod cost;
mod drain;
mod ended_groups;
mod expiry;
mod flush;
mod foreign_data;
mod give_back;
mod group_ledger;
mod group_send;
mod groups;
mod hand_over;
mod health;
mod hello;
mod hostile;
mod ids;
mod inbox_batch;
mod inbox_bytes;
mod inbox_expiry;
mod inbox_owner;
mod labels;
mod lease;
pub(crate) mod ledger;
mod leftovers;
mod owner;
mod pages;
mod receive;
mod reconnect;
mod refused_changes;
mod repairs;
mod replies;
mod shard;
mod source;
mod wake_ups;

use client::Client;
use owner::Owner;
use shard::Shard;
