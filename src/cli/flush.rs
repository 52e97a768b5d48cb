//! `flush`: removes what is under the prefix.

use serde::Serialize;

use super::options::LayerOptions;
use super::outcome::{Failure, Status};
use super::output;

#[derive(Serialize)]
struct Flushed {
    flushed: bool,
}

pub(crate) async fn run(options: &LayerOptions) -> Result<Status, Failure> {
    options.with_layer(async |layer| Ok(layer.flush().await?)).await?;
    if options.json {
        output::json(&Flushed { flushed: true })?;
    }
    Ok(Status::Done)
}
