//! The ring: which shard a name lives on, and how a capacity is divided over all of them.
//!
//! The CRC-32 of a name, modulo 4096, is its point; a table has the shard of each point. `lua/README.md` publishes both,
//! for programs in other languages that share channels with this one.

use crate::seal::Names;

/// How many points the shards share.
const POINTS: usize = 4096;

/// The shards of a host list, as a function of their number alone.
#[derive(Debug)]
pub(super) struct Ring {
    names: Names,
    shards: usize,
    /// The shard of each point.
    points: Vec<usize>,
}

impl Ring {
    /// The first shard has all points; each further one takes its part of them, one by one from the shard that has the
    /// most then (the first of these), and there the highest. So all have as many, give or take one, and adding a shard
    /// at the end of the list moves only what moves to it.
    pub(super) fn new(shards: usize, names: Names) -> Self {
        let shards = shards.clamp(1, POINTS);
        let mut owned: Vec<Vec<usize>> = vec![(0..POINTS).collect()];
        while owned.len() < shards {
            let part = POINTS / (owned.len() + 1);
            let mut taken = Vec::with_capacity(part);
            while taken.len() < part {
                // `max_by_key` gives the last of equals, so it looks from the end.
                let Some(most) = owned.iter_mut().rev().max_by_key(|points| points.len()) else { break };
                taken.extend(most.pop());
            }
            taken.sort_unstable();
            owned.push(taken);
        }
        let mut points = vec![0; POINTS];
        for (shard, owned) in owned.iter().enumerate() {
            for point in owned {
                if let Some(of_point) = points.get_mut(*point) {
                    *of_point = shard;
                }
            }
        }
        Self { names, shards, points }
    }

    /// The shard of a queue, by its name as servers see it.
    pub(super) fn shard_of(&self, queue: &str) -> usize {
        if self.shards == 1 {
            return 0;
        }
        let point = crc32fast::hash(self.names.queue(queue).as_bytes()) as usize % POINTS;
        #[expect(clippy::expect_used, reason = "a remainder of POINTS is a place among as many")]
        *self.points.get(point).expect("the table has a shard for each point")
    }

    /// How much of a normal channel's capacity a shard has. The shares of all shards add up to the capacity; what
    /// cannot be divided evenly goes to the channel's own shard and those that follow it.
    pub(super) fn share(&self, queue: &str, shard: usize, capacity: usize) -> usize {
        let place = (shard + self.shards - self.shard_of(queue)) % self.shards;
        capacity / self.shards + usize::from(place < capacity % self.shards)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::vectors;

    fn names() -> impl Iterator<Item = String> {
        (0..20_000).map(|number| format!("http.response.client{number}!"))
    }

    #[test]
    fn names_live_where_they_always_did() {
        let ring = Ring::new(3, Names::Plain);
        let golden = [
            ("http.request", 1),
            ("http.disconnect", 2),
            ("websocket.receive", 0),
            ("http.request.body?Xy12", 1),
            ("http.response.client7!", 1),
            ("a", 2),
        ];
        for (name, shard) in golden {
            assert_eq!(ring.shard_of(name), shard, "{name}");
        }
        let table = ring
            .points
            .iter()
            .fold(0_u32, |sum, shard| sum.wrapping_mul(31).wrapping_add(u32::try_from(*shard).unwrap()));
        assert_eq!(table, 3_234_565_474);
    }

    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Published {
        points: Vec<Point>,
        rings: Vec<PublishedRing>,
    }

    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Point {
        queue: String,
        crc32: u32,
        point: usize,
    }

    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct PublishedRing {
        servers: usize,
        table_sha1: String,
        server_of: HashMap<String, usize>,
    }

    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Shares {
        shares: Vec<Shared>,
    }

    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Shared {
        servers: usize,
        queue: String,
        capacity: usize,
        shares: Vec<usize>,
    }

    #[test]
    fn rings_and_shares_are_those_of_the_vectors() {
        let Published { points, rings } = vectors::read("ring");
        assert!(points.len() > 5 && rings.len() > 4);
        for Point { queue, crc32, point } in points {
            assert_eq!(crc32fast::hash(queue.as_bytes()), crc32, "{queue}");
            assert_eq!(crc32 as usize % POINTS, point, "{queue}");
        }
        for PublishedRing { servers, table_sha1, server_of } in rings {
            let ring = Ring::new(servers, Names::Plain);
            let table = ring.points.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            assert_eq!(sha1_smol::Sha1::from(table).digest().to_string(), table_sha1, "{servers} servers");
            for (queue, server) in server_of {
                assert_eq!(ring.shard_of(&queue), server, "{queue} on {servers} servers");
            }
        }
        let Shares { shares } = vectors::read("shares");
        assert!(shares.len() > 20);
        for Shared { servers, queue, capacity, shares } in shares {
            let ring = Ring::new(servers, Names::Plain);
            let of: Vec<usize> = (0..servers).map(|shard| ring.share(&queue, shard, capacity)).collect();
            assert_eq!(of, shares, "{capacity} of {queue} on {servers} servers");
        }
    }

    #[test]
    fn every_shard_has_as_many_points_give_or_take_one() {
        for shards in (1..=40).chain([100, 1024]) {
            let mut owned = vec![0_usize; shards];
            for shard in Ring::new(shards, Names::Plain).points {
                owned[shard] += 1;
            }
            let (least, most) = (owned.iter().min().unwrap(), owned.iter().max().unwrap());
            assert!(most - least <= 1 && *least > 0, "{shards} shards: {least} to {most}");
        }
    }

    #[test]
    fn names_spread_evenly() {
        for shards in [2, 3, 5, 8] {
            let ring = Ring::new(shards, Names::Plain);
            let mut owned = vec![0_usize; shards];
            for name in names() {
                owned[ring.shard_of(&name)] += 1;
            }
            let fair = 20_000 / shards;
            for count in owned {
                assert!(count.abs_diff(fair) < fair / 10, "{shards} shards, one has {count} of {fair}");
            }
        }
    }

    #[test]
    fn a_further_shard_takes_its_part_and_moves_nothing_else() {
        for shards in 1..10 {
            let (before, after) = (Ring::new(shards, Names::Plain), Ring::new(shards + 1, Names::Plain));
            let mut moved = 0;
            for name in names() {
                if before.shard_of(&name) != after.shard_of(&name) {
                    assert_eq!(after.shard_of(&name), shards, "{name} moved between old shards");
                    moved += 1;
                }
            }
            let fair = 20_000 / (shards + 1);
            assert!(
                usize::abs_diff(moved, fair) < fair / 8,
                "{shards} shards and one: {moved} of {fair} moved"
            );
        }
    }

    #[test]
    fn the_shares_of_a_capacity_add_up_to_it() {
        for shards in [1, 2, 3, 7] {
            let ring = Ring::new(shards, Names::Plain);
            for capacity in [1, 2, 5, 100, 1_000_000_000] {
                for name in ["a", "b", "http.request", "jobs"] {
                    let shares: Vec<usize> =
                        (0..shards).map(|shard| ring.share(name, shard, capacity)).collect();
                    assert_eq!(shares.iter().sum::<usize>(), capacity);
                    assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1);
                    assert_eq!(shares[ring.shard_of(name)], *shares.iter().max().unwrap());
                }
            }
        }
    }
}
