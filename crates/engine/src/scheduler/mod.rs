//! The engine thread.
//!
//! One loop: take what happened, drop what nobody wants any more, admit who fits, compute one step,
//! send what it gave. A step holds one row of every session that decodes, and as many rows of the
//! oldest prompts as keep the time between two tokens within its target; so a long prompt never
//! freezes the others, and everything that has to be noticed (a cancellation, a receiver that went
//! away, a shutdown) is noticed within one step.
//!
//! | file | what |
//! |---|---|
//! | `sessions.rs` | what callers ask of sessions, answered between two steps |
//! | `staging.rs` | pages that come from the disk tier |
//! | `capture.rs`, `arrival.rs` | snapshots on their way out, and in |
//! | `admission.rs` | who may begin |
//! | `reclaim.rs` | idle sessions make room |
//! | `step.rs` | which rows are computed |
//! | `delivery.rs` | who gets their logits, all at the same time |
//! | `run.rs` | one generation, from the line to its last token |
//! | `pace.rs` | how many rows of prompts keep the time between tokens |

mod admission;
mod arrival;
mod capture;
mod delivery;
mod pace;
mod reclaim;
mod run;
mod sessions;
mod staging;
mod step;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Acquire;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use ds4_model::Plan;
use ds4_prompt::Tokenizer;

use self::arrival::Arrival;
use self::capture::Capture;
use self::delivery::Delivery;
use self::pace::Pace;
use self::run::Run;
use self::step::Pick;
use crate::engine::Options;
use crate::error::EngineError;
use crate::event::{Event, Gone, SessionId};
use crate::frontier::Reason;
use crate::generation::FinishReason;
use crate::machine::{Limits, Machine};
use crate::outlet::{Flow, Outlet};
use crate::pages::{Pages, Table};
use crate::prefixes::Prefixes;
use crate::tiers::Tiers;
use crate::timeline::Timeline;

/// Pages of a session that is restored are loaded between two steps for this part of the time
/// between two tokens: those who wait for a next one come first.
const LOAD_SHARE: u32 = 10;

/// A session and what it is at.
struct Entry {
    timeline: Timeline,
    run: Option<Run>,
    /// Pages on their way from the disk tier.
    staging: Option<Table>,
    gone: Gone,
    /// Turn of the loop in which it was last computed: the longest idle one leaves its slot first.
    used: u64,
}

pub(crate) struct Scheduler {
    machine: Box<dyn Machine>,
    tokenizer: Option<Arc<Tokenizer>>,
    options: Options,
    limits: Limits,
    pages: Pages,
    prefixes: Prefixes,
    sessions: BTreeMap<SessionId, Entry>,
    /// Snapshots that are being copied, the oldest first.
    captures: VecDeque<Capture>,
    /// Those that are being restored.
    arrivals: VecDeque<Arrival>,
    /// Streams of generations that ended while their receivers were behind.
    parting: Vec<Outlet>,
    next_id: SessionId,
    next_order: u64,
    turn: u64,
    plan: Plan,
    picks: Vec<Pick>,
    pace: Pace,
    delivery: Delivery,
}

impl Scheduler {
    pub(crate) fn new(
        machine: Box<dyn Machine>,
        tokenizer: Option<Arc<Tokenizer>>,
        options: Options,
        tiers: Option<Tiers>,
    ) -> Self {
        let limits = machine.limits();
        Self {
            pages: Pages::new(limits.pages, machine.geometry().page_bytes),
            prefixes: Prefixes::new(&*machine, &options, tiers),
            pace: Pace::new(options.between_tokens, options.longest_step),
            machine,
            tokenizer,
            options,
            limits,
            sessions: BTreeMap::new(),
            captures: VecDeque::new(),
            arrivals: VecDeque::new(),
            parting: Vec::new(),
            next_id: 0,
            next_order: 0,
            turn: 0,
            plan: Plan::new(),
            picks: Vec::new(),
            delivery: Delivery::default(),
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
            let (mut loading, most) = (Duration::ZERO, self.options.between_tokens / LOAD_SHARE);
            while loading <= most {
                match events.try_recv() {
                    Ok(event @ Event::LoadPage { .. }) if is_busy => {
                        let begun = Instant::now();
                        self.handle(event);
                        loading += begun.elapsed();
                    }
                    Ok(event) => self.handle(event),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return self.end(),
                }
            }
            self.turn += 1;
            is_busy = self.reap() | self.admit() | self.step();
            is_busy |= self.advance_captures() | self.advance_arrivals();
            is_busy |= self.prefixes.save(&mut self.pages, &mut *self.machine);
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
                let timeline = Timeline::new(self.options.frontiers, None);
                let _ = reply.send(self.open(timeline, gone));
            }
            Event::Resume {
                scope,
                prompt,
                gone,
                reply,
            } => {
                let session = self.resume(scope, &prompt, gone);
                let _ = reply.send(session);
            }
            Event::Stage {
                session,
                names,
                reply,
            } => {
                let _ = reply.send(self.stage(session, &names));
            }
            Event::LoadPage {
                session,
                page,
                reply,
            } => {
                let _ = reply.send(self.load_page(session, &page));
            }
            Event::Arrive {
                session,
                tokens,
                body,
                reply,
            } => {
                let _ = reply.send(self.arrive(session, &tokens, body));
            }
            Event::Unstage { session, reply } => {
                self.unstage(session);
                let _ = reply.send(Ok(()));
            }
            Event::Restore { parts, gone, reply } => self.restore(parts, gone, reply),
            Event::Fill {
                tokens,
                seed,
                gone,
                reply,
            } => {
                let session = self.fill(tokens, seed, gone);
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
            Event::Snapshot { session, reply } => self.capture(session, reply),
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
            self.unstage(id);
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

    /// Ends a generation; its session keeps what is computed.
    fn finish(&mut self, id: SessionId, reason: FinishReason) {
        let Some(entry) = self.sessions.get_mut(&id) else {
            return;
        };
        let Some(run) = entry.run.take() else {
            return;
        };
        let timeline = &mut entry.timeline;
        timeline.drop_pending();
        let (outlet, promise) = run.finish(reason);
        if let Some(promise) = promise {
            self.pages.release(promise);
        }
        // A session alone waits until its slot is wanted. If the device fails here, others do not
        // find what was computed; the next step tells.
        if timeline.scope().is_some() && timeline.keep(Reason::Turn, &mut *self.machine).is_ok() {
            let (prefixes, pages) = (&mut self.prefixes, &mut self.pages);
            prefixes.publish(timeline, Reason::Turn, pages);
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
        self.prefixes.save_all(&mut self.pages, &mut *self.machine);
    }
}
