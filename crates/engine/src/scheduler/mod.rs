//! The engine thread.
//!
//! One loop: take what happened, drop what nobody wants any more, admit who fits, compute one step,
//! send what it gave. A step holds one row of every session that decodes, and as many rows of the
//! oldest prompts as keep the time between two tokens within its target; so a long prompt never
//! freezes the others, and everything that has to be noticed (a cancellation, a receiver that went
//! away, a shutdown) is noticed within one step.

mod pace;
mod run;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Acquire;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Instant;

use ds4_model::{Outputs, Plan};
use ds4_prompt::Tokenizer;

use self::pace::Pace;
use self::run::{Run, Stage};
use crate::engine::{Options, Rewind, SessionStatus, Status};
use crate::error::EngineError;
use crate::event::{Event, Gone, SessionId};
use crate::frontier::Reason;
use crate::generation::FinishReason;
use crate::machine::{Limits, Machine, MachineError};
use crate::outlet::{Flow, Outlet};
use crate::pages::{Pages, Table};
use crate::request::Request;
use crate::snapshot;
use crate::timeline::Timeline;

/// A session and what it is at.
struct Entry {
    timeline: Timeline,
    run: Option<Run>,
    gone: Gone,
    /// Turn of the loop in which it was last computed: the longest idle one leaves its slot first.
    used: u64,
}

/// A session's rows in the step being made.
struct Pick {
    session: SessionId,
    rows: u32,
    outputs: Outputs,
    end: Option<FinishReason>,
}

pub(crate) struct Scheduler {
    machine: Box<dyn Machine>,
    tokenizer: Option<Arc<Tokenizer>>,
    options: Options,
    limits: Limits,
    pages: Pages,
    sessions: BTreeMap<SessionId, Entry>,
    /// Streams of generations that ended while their receivers were behind.
    parting: Vec<Outlet>,
    next_id: SessionId,
    next_order: u64,
    turn: u64,
    plan: Plan,
    picks: Vec<Pick>,
    pace: Pace,
}

impl Scheduler {
    pub(crate) fn new(
        machine: Box<dyn Machine>,
        tokenizer: Option<Arc<Tokenizer>>,
        options: Options,
    ) -> Self {
        let limits = machine.limits();
        Self {
            pages: Pages::new(limits.pages, machine.geometry().page_bytes),
            pace: Pace::new(options.between_tokens, options.longest_step),
            machine,
            tokenizer,
            options,
            limits,
            sessions: BTreeMap::new(),
            parting: Vec::new(),
            next_id: 0,
            next_order: 0,
            turn: 0,
            plan: Plan::new(),
            picks: Vec::new(),
        }
    }

    /// Runs until told to stop, or until nobody is left who could say anything.
    pub(crate) fn run(mut self, events: &Receiver<Event>, stop: &AtomicBool) {
        let mut is_busy = false;
        while !stop.load(Acquire) {
            if !is_busy {
                match events.recv() {
                    Ok(event) => self.handle(event),
                    Err(_) => break,
                }
            }
            loop {
                match events.try_recv() {
                    Ok(event) => self.handle(event),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return self.end(),
                }
            }
            self.turn += 1;
            is_busy = self.reap() | self.admit() | self.step();
        }
        self.end();
    }

    /// Everything that can happen.
    fn handle(&mut self, event: Event) {
        // Whoever drops something and asks for something else finds the first thing gone.
        self.reap();
        // A caller that no longer waits for its answer is no concern of ours; what it opened is
        // closed by its flag.
        match event {
            Event::Open { gone, reply } => {
                let timeline = Timeline::new(self.options.frontiers);
                let _ = reply.send(self.open(timeline, gone));
            }
            Event::Restore { bytes, gone, reply } => {
                let session = self.restore(&bytes, gone);
                let _ = reply.send(session);
            }
            Event::Fork {
                session,
                gone,
                reply,
            } => {
                let fork = self.fork(session, gone);
                let _ = reply.send(fork);
            }
            Event::Rewind { session, to, reply } => {
                let _ = reply.send(self.rewind(session, to));
            }
            Event::Snapshot { session, reply } => {
                let entry = self.sessions.get_mut(&session).ok_or(EngineError::Stopped);
                let bytes = entry.and_then(|entry| {
                    Ok(snapshot::write(&mut entry.timeline, &mut *self.machine)?)
                });
                let _ = reply.send(bytes);
            }
            Event::Generate {
                session,
                request,
                outlet,
                reply,
            } => {
                let _ = reply.send(self.enqueue(session, *request, outlet));
            }
            Event::Describe { session, reply } => {
                let entry = self.sessions.get(&session).ok_or(EngineError::Stopped);
                let _ = reply.send(entry.map(|entry| self.describe(entry)));
            }
            Event::Report { reply } => {
                let _ = reply.send(Ok(self.report()));
            }
            Event::Wake => {}
        }
    }

    fn open(&mut self, timeline: Timeline, gone: Gone) -> Result<SessionId, EngineError> {
        if self.sessions.len() >= self.options.sessions {
            timeline.close(&mut self.pages);
            let most = self.options.sessions;
            return Err(EngineError::Sessions { most });
        }
        let id = self.next_id;
        self.next_id += 1;
        let entry = Entry {
            timeline,
            run: None,
            gone,
            used: self.turn,
        };
        self.sessions.insert(id, entry);
        Ok(id)
    }

    fn restore(&mut self, bytes: &[u8], gone: Gone) -> Result<SessionId, EngineError> {
        let parts = snapshot::Parts::read(bytes, &*self.machine)?;
        let mut table = Table::default();
        let tokens = parts.tokens.len() as u32;
        let mut promise = self.pages.promise(&mut table, 0, tokens)?;
        let never = |_, _| Ok::<(), EngineError>(());
        let mut filled = self
            .pages
            .open(&mut table, 0, tokens, &mut promise, never)
            .map(|_| ());
        self.pages.release(promise);
        for (&page, bytes) in table.pages().iter().zip(parts.pages()) {
            let load = |()| Ok(self.machine.load_page(page, bytes)?);
            filled = filled.and_then(load);
        }
        let most = self.options.frontiers;
        let timeline = Timeline::restored(parts.tokens, table, parts.frontier.to_vec(), most);
        match filled {
            Ok(()) => self.open(timeline, gone),
            Err(error) => {
                timeline.close(&mut self.pages);
                Err(error)
            }
        }
    }

    fn fork(&mut self, session: SessionId, gone: Gone) -> Result<SessionId, EngineError> {
        let entry = self
            .sessions
            .get_mut(&session)
            .ok_or(EngineError::Stopped)?;
        // A session that is being written will have to copy the page that both will see.
        if let Some(Run {
            stage: Stage::Running(promise),
            ..
        }) = &mut entry.run
        {
            self.pages.raise(promise, 1)?;
        }
        let fork = entry.timeline.fork(&mut self.pages, &mut *self.machine)?;
        self.open(fork, gone)
    }

    fn rewind(&mut self, session: SessionId, to: u32) -> Result<Rewind, EngineError> {
        let entry = self
            .sessions
            .get_mut(&session)
            .ok_or(EngineError::Stopped)?;
        if entry.run.is_some() {
            return Err(EngineError::Generating);
        }
        Ok(entry.timeline.rewind(to, &mut self.pages))
    }

    fn enqueue(
        &mut self,
        session: SessionId,
        request: Request,
        outlet: Outlet,
    ) -> Result<(), EngineError> {
        let entry = self
            .sessions
            .get_mut(&session)
            .ok_or(EngineError::Stopped)?;
        if entry.run.is_some() {
            return Err(EngineError::Generating);
        }
        let sizes = (self.limits.vocab, self.options.context);
        let tokenizer = self.tokenizer.clone();
        entry.run = Some(Run::new(self.next_order, request, outlet, sizes, tokenizer));
        self.next_order += 1;
        Ok(())
    }

    fn describe(&self, entry: &Entry) -> SessionStatus {
        let timeline = &entry.timeline;
        SessionStatus {
            tokens: timeline.tokens()[..timeline.computed() as usize].to_vec(),
            kept: timeline.frontiers().positions().collect(),
            pages: self.pages.charge(timeline.table()),
            frontier_bytes: timeline.frontiers().bytes(),
            is_generating: entry.run.is_some(),
        }
    }

    fn report(&self) -> Status {
        let runs = || {
            self.sessions
                .values()
                .filter_map(|entry| entry.run.as_ref())
        };
        Status {
            sessions: self.sessions.len(),
            running: runs().filter(|run| !run.is_waiting()).count(),
            waiting: runs().filter(|run| run.is_waiting()).count(),
            free_bytes: self.pages.free_bytes(),
            promised_bytes: self.pages.promised_bytes(),
            total_bytes: self.pages.total_bytes(),
        }
    }

    /// Lets go of what nobody wants any more. Was there anything?
    fn reap(&mut self) -> bool {
        self.parting
            .retain_mut(|outlet| outlet.flush() == Flow::Paused);
        let mut found = false;
        let is_unwanted = |(_, entry): &(&SessionId, &mut Entry)| {
            entry
                .run
                .as_ref()
                .is_some_and(|run| run.outlet.is_cancelled())
        };
        while let Some((&id, _)) = self.sessions.iter_mut().find(is_unwanted) {
            self.finish(id, FinishReason::Cancelled);
            found = true;
        }
        let is_gone =
            |(_, entry): &(&SessionId, &Entry)| entry.run.is_none() && entry.gone.load(Acquire);
        while let Some((&id, _)) = self.sessions.iter().find(is_gone) {
            if let Some(entry) = self.sessions.remove(&id) {
                entry.timeline.close(&mut self.pages);
            }
            found = true;
        }
        for entry in self.sessions.values_mut() {
            if let Some(run) = &mut entry.run
                && !run.outlet.is_open()
            {
                found |= run.outlet.flush() != Flow::Paused;
            }
        }
        found
    }

    /// Admits generations in order of arrival, as long as they fit. Was there one?
    fn admit(&mut self) -> bool {
        let mut found = false;
        loop {
            let waiting = self.sessions.iter().filter_map(|(&id, entry)| {
                let run = entry.run.as_ref().filter(|run| run.is_waiting())?;
                Some((run.order, id))
            });
            let Some((_, id)) = waiting.min() else {
                return found;
            };
            match self.begin(id) {
                Ok(true) => {}
                Ok(false) => return found,
                Err(error) => self.finish(id, FinishReason::Error(error)),
            }
            found = true;
        }
    }

    /// Admits one generation; false if it has to wait for others to end.
    fn begin(&mut self, id: SessionId) -> Result<bool, EngineError> {
        let Some(slot) = self.slot_for(id)? else {
            return Ok(false);
        };
        let Some(Entry {
            timeline,
            run: Some(run),
            ..
        }) = self.sessions.get_mut(&id)
        else {
            return Ok(true);
        };
        let (Rewind::Exact { at } | Rewind::Short { at, .. }) =
            timeline.rewind(run.reusable(timeline), &mut self.pages);
        let promise = match self.pages.promise(timeline.table_mut(), at, run.end()) {
            Ok(promise) => promise,
            // Those under way will give back what they do not use.
            Err(_) if self.pages.promised_bytes() > 0 => return Ok(false),
            Err(admission) => return Err(admission.into()),
        };
        let seated = match timeline.slot() {
            // Where the last turn ended is where a conversation forks.
            Some(_) => timeline.keep(Reason::Cut, &mut *self.machine),
            None => timeline.sit(slot, &mut *self.machine),
        };
        run.admit(promise, timeline);
        seated?;
        Ok(true)
    }

    /// The slot of a session, a free one, or that of the session idle for longest; none if all are
    /// at work.
    fn slot_for(&mut self, id: SessionId) -> Result<Option<u32>, MachineError> {
        let own = self
            .sessions
            .get(&id)
            .and_then(|entry| entry.timeline.slot());
        if own.is_some() {
            return Ok(own);
        }
        let taken = |slot| {
            let mut seated = self.sessions.values();
            seated.any(|entry| entry.timeline.slot() == Some(slot))
        };
        if let Some(free) = (0..self.limits.slots as u32).find(|&slot| !taken(slot)) {
            return Ok(Some(free));
        }
        let idle = self.sessions.values_mut().filter(|entry| {
            let is_running = entry.run.as_ref().is_some_and(|run| !run.is_waiting());
            entry.timeline.slot().is_some() && !is_running
        });
        let Some(entry) = idle.min_by_key(|entry| entry.used) else {
            return Ok(None);
        };
        let slot = entry.timeline.slot();
        entry.timeline.leave(&mut *self.machine)?;
        Ok(slot)
    }

    /// Makes and runs one step. Was there anything to compute?
    fn step(&mut self) -> bool {
        let (decoding, prefilling) = self.choose();
        self.plan.clear();
        for index in 0..self.picks.len() {
            if let Err(error) = self.plan_rows(index) {
                self.picks[index].end = Some(FinishReason::Error(error));
            }
        }
        let begun = Instant::now();
        if !self.plan.is_empty() {
            match self.machine.step(&self.plan) {
                Ok(logits) => {
                    let vocab = self.limits.vocab;
                    deliver(
                        &mut self.picks,
                        &mut self.sessions,
                        logits,
                        vocab,
                        self.turn,
                    );
                }
                Err(error) => self.fail(&error),
            }
            self.pace.note(decoding, prefilling, begun.elapsed());
        }
        let found = !self.picks.is_empty();
        while let Some(pick) = self.picks.pop() {
            let kept = self.keep(pick.session);
            let end = pick
                .end
                .or(kept.err().map(|error| FinishReason::Error(error.into())));
            if let Some(end) = end {
                self.finish(pick.session, end);
            }
        }
        found
    }

    /// Picks the rows of the next step: all that decode, then the oldest prompts. How many of each.
    fn choose(&mut self) -> (usize, usize) {
        self.picks.clear();
        let ready = |entry: &Entry| entry.run.as_ref().is_some_and(Run::is_ready);
        for (&session, entry) in &self.sessions {
            let Some(run) = entry.run.as_ref().filter(|_| ready(entry)) else {
                continue;
            };
            if entry.timeline.computed() >= run.prompt {
                self.picks.push(Pick {
                    session,
                    rows: 1,
                    outputs: Outputs::Last,
                    end: None,
                });
            }
        }
        let decoding = self.picks.len();
        let mut rows = self.limits.max_rows - decoding;
        let mut outputs = self.limits.max_outputs - decoding;
        rows = rows.min(self.pace.slice(decoding));
        let (budget, mut after) = (rows, None);
        while rows > 0 && outputs > 0 {
            let prompts = self.sessions.iter().filter_map(|(&id, entry)| {
                let run = entry.run.as_ref().filter(|_| ready(entry))?;
                let is_next = entry.timeline.computed() < run.prompt && Some(run.order) > after;
                is_next.then_some((run.order, id))
            });
            let Some((order, session)) = prompts.min() else {
                break;
            };
            after = Some(order);
            let pick = self.slice(session, rows, outputs);
            rows -= pick.rows as usize;
            outputs -= match pick.outputs {
                Outputs::None => 0,
                Outputs::Last => 1,
                Outputs::All => pick.rows as usize,
            };
            self.picks.push(pick);
        }
        (decoding, budget - rows)
    }

    /// Up to `rows` rows of a prompt: not beyond a cut, and with no more logits than there is room
    /// for.
    fn slice(&self, session: SessionId, rows: usize, outputs: usize) -> Pick {
        let entry = &self.sessions[&session];
        let run = entry.run.as_ref().expect("picked for its run");
        let (timeline, pending) = (&entry.timeline, entry.timeline.pending().len());
        let to_cut = run.to_next_cut(timeline.computed()) as usize;
        let mut rows = rows.min(pending).min(to_cut);
        let outputs = match run.is_scoring() {
            true => {
                rows = rows.min(outputs);
                Outputs::All
            }
            false if rows == pending => Outputs::Last,
            false => Outputs::None,
        };
        Pick {
            session,
            rows: rows as u32,
            outputs,
            end: None,
        }
    }

    /// Puts the rows of a pick into the plan, with pages to write to.
    fn plan_rows(&mut self, index: usize) -> Result<(), EngineError> {
        let pick = &self.picks[index];
        let Some(Entry {
            timeline,
            run: Some(run),
            ..
        }) = self.sessions.get_mut(&pick.session)
        else {
            return Ok(());
        };
        let Stage::Running(promise) = &mut run.stage else {
            return Ok(());
        };
        let slot = timeline.open(pick.rows, &mut self.pages, promise, &mut *self.machine)?;
        let tokens = &timeline.pending()[..pick.rows as usize];
        let pushed = self
            .plan
            .push(slot, timeline.computed(), tokens, pick.outputs);
        pushed.expect("every session has its own slot and at least one row");
        Ok(())
    }

    /// A step failed: whatever it touched goes back to what is safe.
    fn fail(&mut self, error: &MachineError) {
        for pick in &mut self.picks {
            if let Some(entry) = self.sessions.get_mut(&pick.session) {
                entry.timeline.fall_back(&mut self.pages);
            }
            let error = EngineError::Machine(error.clone());
            pick.end.get_or_insert(FinishReason::Error(error));
        }
    }

    /// Keeps a frontier where this session has just arrived, if the place is worth it.
    fn keep(&mut self, session: SessionId) -> Result<(), MachineError> {
        let Some(entry) = self.sessions.get_mut(&session) else {
            return Ok(());
        };
        let (at, last) = (entry.timeline.computed(), entry.timeline.frontiers().last());
        if entry.run.as_ref().is_some_and(|run| run.is_cut(at)) {
            return entry.timeline.keep(Reason::Cut, &mut *self.machine);
        }
        if at >= last.saturating_add(self.options.frontier_tokens) {
            return entry.timeline.keep(Reason::Distance, &mut *self.machine);
        }
        Ok(())
    }

    /// Ends a generation; its session keeps what is computed.
    fn finish(&mut self, id: SessionId, reason: FinishReason) {
        let Some(entry) = self.sessions.get_mut(&id) else {
            return;
        };
        let Some(run) = entry.run.take() else {
            return;
        };
        entry.timeline.drop_pending();
        let (outlet, promise) = run.finish(reason);
        if let Some(promise) = promise {
            self.pages.release(promise);
        }
        if !outlet.is_open() {
            self.parting.push(outlet);
        }
    }

    /// Tells everybody.
    fn end(mut self) {
        while let Some((&id, _)) = self.sessions.iter().find(|(_, entry)| entry.run.is_some()) {
            self.finish(id, FinishReason::Error(EngineError::Stopped));
        }
    }
}

/// Hands every session the logits of its rows.
fn deliver(
    picks: &mut [Pick],
    sessions: &mut BTreeMap<SessionId, Entry>,
    mut logits: &[f32],
    vocab: usize,
    turn: u64,
) {
    // What could not be planned has an end already and no rows in the step.
    for pick in picks.iter_mut().filter(|pick| pick.end.is_none()) {
        let count = match pick.outputs {
            Outputs::None => 0,
            Outputs::Last => 1,
            Outputs::All => pick.rows as usize,
        };
        let (own, rest) = logits.split_at(count * vocab);
        logits = rest;
        let Some(entry) = sessions.get_mut(&pick.session) else {
            continue;
        };
        entry.used = turn;
        entry.timeline.advance(pick.rows);
        if let Some(run) = &mut entry.run {
            pick.end = run.take(&mut entry.timeline, pick.rows, own, vocab);
        }
    }
}
