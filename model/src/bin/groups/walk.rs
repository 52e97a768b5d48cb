//! One random walk, from an empty server to a quiet one.

use crate::rules::Rules;
use crate::state::GROUPS;
use crate::world::World;

/// Of each so many steps of a walk, the first have all faults and changes. Then the program is mostly quiet.
const PERIOD: u64 = 700;
const BUSY: u64 = 250;
/// More calm steps than any walk needs to settle.
const MOST_STEPS: u64 = 20_000;

/// Walks so many steps, lets all settle, and sends to each group. Ends early at a failure.
pub fn walk(seed: u64, steps: u64, rules: &Rules, traces: bool) -> World {
    let mut world = World::new(seed, rules.clone(), traces);
    calm_steps(&mut world, 200);
    for i in 0..steps {
        if world.failure.is_some() {
            return world;
        }
        world.light = i % PERIOD >= BUSY;
        world.step(false);
    }
    world.light = false;
    let mut calm = 0;
    while world.failure.is_none() && (world.unsettled.is_some() || !world.is_quiet()) {
        world.step(true);
        calm += 1;
        if calm > MOST_STEPS {
            let owner = &world.owner;
            world.fail(format!(
                "does not settle: unsettled {:?} todo {} walk {:?} verdict {:?}",
                world.unsettled,
                owner.todo.len(),
                owner.walk,
                owner.verdict
            ));
        }
    }
    for group in 0..GROUPS {
        if world.failure.is_none() {
            world.send(group);
        }
    }
    calm_steps(&mut world, 2000);
    world
}

fn calm_steps(world: &mut World, steps: u64) {
    for _ in 0..steps {
        if world.failure.is_some() {
            return;
        }
        world.step(true);
    }
}
