//! What the checkers share: how a state is told from the others, and what a run reads from its environment. The model of
//! several servers is here too, because the lockstep runs it as well.

pub mod shards;

use std::hash::{Hash, Hasher};

/// Returns 128 bits by which a search tells this state from all others that it saw.
pub fn fingerprint(state: &impl Hash) -> u128 {
    let mut sums = Sums(0, 1);
    state.hash(&mut sums);
    let mix = |x: u64| {
        let x = (x ^ x >> 31).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x ^ x >> 30
    };
    u128::from(mix(sums.0)) << 64 | u128::from(mix(sums.1))
}

/// Returns the events that led to a state of a search. `steps` has for each state the one before it and the event between.
pub fn trace<E: Copy>(steps: &[Option<(u32, E)>], mut at: u32) -> Vec<E> {
    let mut events = vec![];
    while let Some((from, event)) = steps[at as usize] {
        events.push(event);
        at = from;
    }
    events.reverse();
    events
}

/// Returns the number in an environment variable, or `default` if it is not set.
///
/// # Panics
///
/// If the variable holds something that is not a number.
pub fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is to be a number, not {text:?}")),
        Err(_) => default,
    }
}

/// Two independent sums, made in one pass.
struct Sums(u64, u64);

impl Hasher for Sums {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, x: u8) {
        self.write_u64(u64::from(x));
    }

    fn write_u32(&mut self, x: u32) {
        self.write_u64(u64::from(x));
    }

    fn write_usize(&mut self, x: usize) {
        self.write_u64(x as u64);
    }

    fn write_isize(&mut self, x: isize) {
        self.write_u64(x as u64);
    }

    fn write_u64(&mut self, x: u64) {
        self.0 = (self.0.rotate_left(5) ^ x).wrapping_mul(0x517c_c1b7_2722_0a95);
        self.1 = (self.1 ^ x).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.1 ^= self.1 >> 29;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
