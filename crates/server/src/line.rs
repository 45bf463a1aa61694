//! The line of requests before the engine: bounded, and fair between tenants.
//!
//! A slot that becomes free goes to the tenant that has the fewest, among equals to whoever came
//! first: one tenant's hundred requests delay another's single one by one answer, not by a hundred.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::error::{ApiError, Kind};
use crate::tenant::Tenant;

/// The line.
#[derive(Debug)]
pub(crate) struct Line {
    state: Mutex<State>,
    /// Most that may wait.
    waiting: usize,
}

#[derive(Debug)]
struct State {
    free: usize,
    running: BTreeMap<Tenant, usize>,
    waiting: VecDeque<Waiting>,
    next: u64,
}

#[derive(Debug)]
struct Waiting {
    id: u64,
    tenant: Tenant,
    call: oneshot::Sender<()>,
}

impl Line {
    /// A line before `slots` slots, in which at most `waiting` wait.
    pub(crate) fn new(slots: usize, waiting: usize) -> Arc<Self> {
        let state = State {
            free: slots,
            running: BTreeMap::new(),
            waiting: VecDeque::new(),
            next: 0,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            waiting,
        })
    }

    /// Joins the line.
    ///
    /// # Errors
    /// If it is full.
    pub(crate) fn join(self: &Arc<Self>, tenant: Tenant) -> Result<Ticket, ApiError> {
        let mut state = self.state();
        let id = state.next;
        state.next += 1;
        let (call, called) = oneshot::channel();
        if state.free > 0 {
            state.free -= 1;
            *state.running.entry(tenant).or_default() += 1;
            let _ = call.send(());
        } else if state.waiting.len() >= self.waiting {
            let waiting = state.waiting.len();
            let message = format!("{waiting} requests are waiting already; try again shortly");
            return Err(ApiError::new(Kind::Busy, message));
        } else {
            state.waiting.push_back(Waiting { id, tenant, call });
        }
        drop(state);
        Ok(Ticket {
            line: Arc::clone(self),
            id,
            tenant,
            called: Some(called),
        })
    }

    /// How many run, and how many wait.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let state = self.state();
        (state.running.values().sum(), state.waiting.len())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Gives a slot of `tenant` to the next.
    fn release(&mut self, tenant: Tenant) {
        if let Some(count) = self.running.get_mut(&tenant) {
            *count -= 1;
            if *count == 0 {
                self.running.remove(&tenant);
            }
        }
        let running = |tenant: &Tenant| self.running.get(tenant).copied().unwrap_or(0);
        let fairest = self.waiting.iter().enumerate();
        let fairest = fairest.min_by_key(|(at, waiting)| (running(&waiting.tenant), *at));
        let next = fairest
            .map(|(at, _)| at)
            .and_then(|at| self.waiting.remove(at));
        match next {
            None => self.free += 1,
            Some(next) => {
                *self.running.entry(next.tenant).or_default() += 1;
                // Whoever left in the meantime gives the slot back when its ticket is dropped.
                let _ = next.call.send(());
            }
        }
    }
}

/// A place in the line, and then a slot. Dropping it gives either back.
#[derive(Debug)]
pub(crate) struct Ticket {
    line: Arc<Line>,
    id: u64,
    tenant: Tenant,
    called: Option<oneshot::Receiver<()>>,
}

impl Ticket {
    /// Waits for the slot.
    pub(crate) async fn turn(&mut self) {
        if let Some(called) = &mut self.called {
            let _ = called.await;
            self.called = None;
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.line.state();
        let place = state
            .waiting
            .iter()
            .position(|waiting| waiting.id == self.id);
        match place {
            Some(place) => {
                state.waiting.remove(place);
            }
            None => state.release(self.tenant),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Line, Ticket};
    use crate::tenant::{Keys, Tenant};

    fn tenants() -> (Tenant, Tenant) {
        let keys = Keys::new(&["a".to_owned(), "b".to_owned()]);
        (
            keys.tenant(Some("a")).unwrap(),
            keys.tenant(Some("b")).unwrap(),
        )
    }

    fn is_called(ticket: &mut Ticket) -> bool {
        ticket
            .called
            .as_mut()
            .is_none_or(|called| called.try_recv().is_ok())
    }

    #[test]
    fn slots_go_to_whoever_has_fewest() {
        let (a, b) = tenants();
        let line = Line::new(1, 3);
        let mut first = line.join(a).unwrap();
        assert!(is_called(&mut first));
        let mut second = line.join(a).unwrap();
        let third = line.join(a).unwrap();
        let mut other = line.join(b).unwrap();
        assert!(line.join(b).is_err(), "the line is full");
        assert!(!is_called(&mut second) && !is_called(&mut other));
        assert_eq!(line.counts(), (1, 3));
        // Nobody has a slot now: the first in line is next.
        drop(first);
        assert!(is_called(&mut second) && !is_called(&mut other));
        drop(third);
        assert_eq!(line.counts(), (1, 1));
        drop(second);
        assert!(is_called(&mut other));
        drop(other);
        assert_eq!(line.counts(), (0, 0));
    }

    #[test]
    fn with_two_slots_the_second_tenant_goes_first() {
        let (a, b) = tenants();
        let line = Line::new(2, 8);
        let running: Vec<Ticket> = (0..2).map(|_| line.join(a).unwrap()).collect();
        let mut more = line.join(a).unwrap();
        let mut other = line.join(b).unwrap();
        drop(running.into_iter().next());
        // `running` is gone altogether: both slots were given, one to each tenant.
        assert!(is_called(&mut other) && is_called(&mut more));
        let mut last = line.join(a).unwrap();
        let mut fair = line.join(b).unwrap();
        drop(other);
        assert!(is_called(&mut fair) && !is_called(&mut last));
    }

    #[test]
    fn a_slot_given_to_somebody_who_left_is_not_lost() {
        let (a, _) = tenants();
        let line = Line::new(1, 8);
        let first = line.join(a).unwrap();
        let second = line.join(a).unwrap();
        drop(first);
        drop(second);
        let mut third = line.join(a).unwrap();
        assert!(is_called(&mut third));
    }
}
