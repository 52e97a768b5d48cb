//! What the scripts promise to a client in any language: each rule of the protocol, and each mistake that it rules out,
//! shown by raw calls from clients that share no code with the layer.

mod acknowledge;
mod capacity;
mod client;
mod cost;
mod expiry;
mod flush;
mod foreign_data;
mod give_back;
mod hand_over;
mod hello;
mod ids;
mod lease;
mod ledger;
mod leftovers;
mod receive;
mod reconnect;
mod replies;
mod shard;
mod source;

use client::Client;
use shard::Shard;
