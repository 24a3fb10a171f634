//! Worlds in their short versions: every invariant and what each world asks for besides hold in them.

use std::panic::catch_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;

use p2pool_test_simulation::worlds::{Length, World, ALL};

/// Seeds of each world; those that take longest have fewer.
const SEEDS: u64 = 4;
const SLOW: [(&str, u64); 3] = [("activation", 1), ("idle", 2), ("newcomer", 2)];

/// A long split into parts of which one clearly has more hash rate, which few seeds draw.
const CLEAR: (&str, u64) = ("split", 18);

fn seeds(world: &World) -> impl Iterator<Item = u64> {
    let slow = SLOW.iter().find(|(name, _)| *name == world.name);
    let clear = (world.name == CLEAR.0).then_some(CLEAR.1);
    (0..slow.map_or(SEEDS, |(_, seeds)| *seeds)).chain(clear)
}

/// Runs a world; what was wrong, and how to see it again.
fn run(world: &World, seed: u64) -> Option<String> {
    let wrong = catch_unwind(|| world.run(seed, Length::Short, false).1);
    let wrong = wrong.unwrap_or_else(|_| vec!["a panic, printed above".to_owned()]);
    let first = wrong.first()?;
    Some(format!("{} violations, first {first}\n  replay: {}", wrong.len(), world.replay(seed, Length::Short)))
}

#[test]
fn worlds_keep_every_invariant() {
    let runs: Vec<(&World, u64)> = ALL.iter().flat_map(|world| seeds(world).map(move |seed| (world, seed))).collect();
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((world, seed)) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Some(failure) = run(world, *seed) {
                        failures.lock().expect("no thread panics with it").push(failure);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("no thread panics with it");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
