//! The borders of `src/`: a file imports only from files of earlier rows in the table of docs/architecture.md.
//!
//! [`source`] reads what a file names, [`tree`] makes arrows between files of it, [`order`] compares them with the table.

mod made_up;
mod order;
mod real_tree;
mod source;
mod tree;
