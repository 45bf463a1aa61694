//! Reading generated text: bytes in, [`Piece`]s out.
//!
//! [`Reader`] is a state machine over characters. It never looks at how the bytes were split, holds
//! back no more than it must to decide (a few bytes in text, a call in whole delivery), looks at
//! every byte a bounded number of times, and ends every turn with one [`Piece::Done`].
//! `docs/dsml.md` has the grammar, the states and the limits.
//!
//! ```
//! use ds4_prompt::Piece;
//! use ds4_prompt::dsml::{End, Reader, Reading};
//!
//! let mut reader = Reader::new(&Reading::default());
//! let mut text = String::new();
//! let mut sink = |piece: Piece<'_>| {
//!     if let Piece::Text(part) = piece {
//!         text.push_str(&part);
//!     }
//! };
//! reader.push("Caf\u{e9}".as_bytes(), &mut sink);
//! reader.finish(End::Turn, &mut sink);
//! assert_eq!(text, "Café");
//! ```

mod block;
mod call;
mod json_strings;
mod machine;
mod mark;
mod output;
mod start;
mod stops;
mod tag;
mod text;
mod utf8;

use self::machine::Machine;
use self::utf8::Characters;
use crate::Piece;

/// Where pieces go.
pub type Sink<'s> = dyn FnMut(Piece<'_>) + 's;

/// Most bytes of a block without a complete call. A larger call is malformed: this bounds the
/// reader's memory. A call as long as the longest context, a million tokens, is about this large.
pub const CALL_MAX: usize = 4 << 20;

/// How a turn is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// What the prompt's last words ask for.
    pub begin: Begin,
    /// Whether the request has tools the model may call.
    pub tools: Tools,
    /// When a call is delivered.
    pub delivery: Delivery,
    /// Visible text ends before the first of these.
    pub stops: Vec<String>,
}

/// What a turn begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Begin {
    /// The prompt ended with `</think>`, or inside an answer.
    #[default]
    Text,
    /// The prompt ended with `<think>`.
    Reasoning,
}

/// Whether tool markup means anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tools {
    /// Calls are read.
    #[default]
    Active,
    /// Markup is text.
    Inactive,
}

/// When a call is delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// When it is complete: no client ever holds half a command.
    #[default]
    Whole,
    /// As it is written.
    Live,
}

/// Why no more bytes come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The model ended its turn.
    Turn,
    /// The budget or the context ran out.
    Length,
}

/// What the model writes next, for the sampler: structure is decoded greedily, everything else is
/// sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextByte {
    /// Reasoning or text.
    Free,
    /// Tags, names, punctuation of JSON.
    Structure,
    /// A value: a string's body, or a string inside JSON.
    Payload,
}

/// Reads one generated turn.
#[derive(Debug)]
pub struct Reader {
    characters: Characters,
    machine: Machine,
}

impl Reader {
    /// A reader for one turn.
    pub fn new(reading: &Reading) -> Self {
        Self {
            characters: Characters::default(),
            machine: Machine::new(reading),
        }
    }

    /// Takes the next bytes, without EOS or other tokens that end the turn. Ignored once the turn
    /// is done.
    pub fn push(&mut self, bytes: &[u8], sink: &mut Sink<'_>) {
        let machine = &mut self.machine;
        self.characters
            .push(bytes, &mut |text| machine.push(text, sink));
    }

    /// Ends the turn, if it has not ended by itself.
    pub fn finish(&mut self, end: End, sink: &mut Sink<'_>) {
        let machine = &mut self.machine;
        self.characters.finish(&mut |text| machine.push(text, sink));
        machine.finish(end, sink);
    }

    /// Whether the last piece is out: the tool block is closed, or a stop string occurred.
    /// Generation should stop.
    pub fn is_done(&self) -> bool {
        self.machine.is_done()
    }

    /// What the next byte is.
    ///
    /// Structure is never announced for long: after some hundred bytes of it without a payload the
    /// answer is payload, since greedy decoding that has begun to loop ends only when something
    /// else is sampled.
    pub fn next_byte(&self) -> NextByte {
        self.machine.next_byte()
    }
}
