//! Where the time goes, by operation.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use super::{Call, Probe};
use crate::ops::Ops;

/// How often each operation ran and how long it took. Backends that record operations and execute
/// them later show here what recording takes.
#[derive(Clone, Debug, Default)]
pub struct Times {
    by_name: BTreeMap<&'static str, (u64, Duration)>,
}

impl Times {
    /// (name, how often, how long altogether), the longest first.
    pub fn longest_first(&self) -> Vec<(&'static str, u64, Duration)> {
        let all = self.by_name.iter();
        let mut all: Vec<_> = all.map(|(&name, &(n, time))| (name, n, time)).collect();
        all.sort_by_key(|&(_, _, time)| std::cmp::Reverse(time));
        all
    }

    /// Begins anew.
    pub fn clear(&mut self) {
        self.by_name.clear();
    }
}

impl<O: Ops> Probe<O> for Times {
    fn operation(&mut self, ops: &mut O, call: &mut Call<'_, O>) -> Result<(), O::Error> {
        let begun = Instant::now();
        call.run(ops)?;
        let (count, time) = self.by_name.entry(call.name()).or_default();
        *count += 1;
        *time += begun.elapsed();
        Ok(())
    }
}

impl fmt::Display for Times {
    /// A line an operation: its share, its time, how often it ran.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Duration = self.by_name.values().map(|(_, time)| *time).sum();
        for (name, count, time) in self.longest_first() {
            let share = 100.0 * time.as_secs_f64() / all.as_secs_f64().max(f64::MIN_POSITIVE);
            let time = time.as_secs_f64() * 1e3;
            writeln!(f, "{share:5.1} % {time:10.2} ms {count:7} x {name}")?;
        }
        Ok(())
    }
}
