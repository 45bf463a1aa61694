//! What a directory holds, in memory: enough to find, to count and to choose what has to go.

use std::collections::{HashMap, HashSet};

use crate::directory::{Item, Shelf};
use crate::name::Name;
use crate::record::Head;
use crate::tree::{Freed, New, Place, Tree};

/// Seconds for which a page that no frontier needs is left alone: somebody may be about to write
/// the frontier.
const GRACE: f64 = 600.0;

/// Seconds within which nothing is written a second time: what was evicted a moment ago is not
/// worth being written again.
const REST: f64 = 60.0;

/// A page that no frontier needs, or not yet.
struct Loose {
    before: Name,
    tokens: Box<[u32]>,
    bytes: u64,
    since: f64,
}

/// A record in the tree.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored {
    pub(crate) name: Name,
    pub(crate) bytes: u64,
}

/// A file to be removed.
pub(crate) type Doomed = (Shelf, Name);

pub(crate) struct Index {
    pub(crate) tree: Tree<Stored, Stored>,
    loose: HashMap<Name, Loose>,
    /// Files that are no use to anybody, with their bytes.
    junk: HashMap<Doomed, u64>,
    /// When a record was last written by this process.
    written: HashMap<Name, f64>,
    page_tokens: usize,
    /// Bytes of all files.
    used: u64,
}

impl Index {
    pub(crate) fn new(page_tokens: usize) -> Self {
        Self {
            tree: Tree::new(page_tokens),
            loose: HashMap::new(),
            junk: HashMap::new(),
            written: HashMap::new(),
            page_tokens,
            used: 0,
        }
    }

    pub(crate) fn used(&self) -> u64 {
        self.used
    }

    /// Is there a record of this name?
    pub(crate) fn has(&self, shelf: Shelf, name: Name) -> bool {
        match shelf {
            Shelf::Pages => self.tree.has_page(name) || self.loose.contains_key(&name),
            Shelf::Frontiers => self.tree.get(name).is_some(),
        }
    }

    /// Was it written so lately that it should not be written again?
    pub(crate) fn is_resting(&self, name: Name, now: f64) -> bool {
        let written = self.written.get(&name);
        written.is_some_and(|written| now - written < REST)
    }

    /// Which of these names were not known, and which of those known are not among them.
    pub(crate) fn compare(&self, shelf: Shelf, names: &[Name]) -> (Vec<Name>, Vec<Name>) {
        let there: HashSet<Name> = names.iter().copied().collect();
        let known: HashSet<Name> = match shelf {
            Shelf::Pages => self
                .tree
                .page_names()
                .chain(self.loose.keys().copied())
                .collect(),
            Shelf::Frontiers => self.tree.names().collect(),
        };
        let junk = self.junk.keys().filter(|(its, _)| *its == shelf);
        let known: HashSet<Name> = known
            .into_iter()
            .chain(junk.map(|(_, name)| *name))
            .collect();
        let new = there.difference(&known).copied().collect();
        (new, known.difference(&there).copied().collect())
    }

    /// Takes in a file that was found, pages before frontiers. What is superseded by it has to go.
    pub(crate) fn found(&mut self, item: Item) -> Vec<Doomed> {
        self.used += item.bytes;
        let Ok(head) = item.head else {
            self.junk.insert((item.shelf, item.name), item.bytes);
            return Vec::new();
        };
        self.add(head, item.bytes, item.used)
    }

    /// Takes in a record that was just written.
    pub(crate) fn wrote(&mut self, head: Head, bytes: u64, now: f64) -> Vec<Doomed> {
        self.used += bytes;
        self.written.retain(|_, written| now - *written < REST);
        self.written.insert(head.name, now);
        self.add(head, bytes, now)
    }

    fn add(&mut self, head: Head, bytes: u64, used: f64) -> Vec<Doomed> {
        let name = head.name;
        let Some(kind) = head.kind else {
            let page = Loose {
                before: head.before,
                tokens: head.tokens,
                bytes,
                since: used,
            };
            self.loose.insert(name, page);
            return Vec::new();
        };
        if self.tree.get(name).is_some() {
            self.used -= bytes;
            return Vec::new();
        }
        let Some(pages) = self.pages_before(&head) else {
            self.junk.insert((Shelf::Frontiers, name), bytes);
            return Vec::new();
        };
        // Pages that come with it are loose, the last one among them.
        let last = pages.last().and_then(|last| self.loose.get(last));
        let page_bytes = last.map_or(0, |page| page.bytes);
        let place = Place {
            root: head.root,
            pages: &pages,
            tail: &head.tokens,
        };
        let new = New {
            frontier: Stored { name, bytes },
            kind,
            bytes,
            page_bytes,
            now: used,
        };
        let loose = &mut self.loose;
        let freed = self.tree.hang(name, place, new, |at| {
            let name = pages[at];
            let page = loose.remove(&name);
            let page = page.expect("every page before it is in the tree or loose");
            let bytes = page.bytes;
            (page.tokens, Stored { name, bytes })
        });
        self.drop_freed(freed)
    }

    /// The pages before a frontier, if all are there.
    pub(crate) fn pages_before(&self, head: &Head) -> Option<Vec<Name>> {
        let count = head.at as usize / self.page_tokens;
        let (mut loose, mut at) = (Vec::new(), head.before);
        let mut path = loop {
            if at == head.root {
                break Vec::new();
            }
            if let Some(path) = self.tree.path(at) {
                break path;
            }
            // Names are hashes of what is before them, so honest ones make no circle.
            let page = self.loose.get(&at).filter(|_| loose.len() < count)?;
            loose.push(at);
            at = page.before;
        };
        path.extend(loose.iter().rev());
        (path.len() == count).then_some(path)
    }

    /// Is what comes before this record there?
    pub(crate) fn is_connected(&self, head: &Head) -> bool {
        match head.kind {
            None => head.before == head.root || self.has(Shelf::Pages, head.before),
            Some(_) => self.pages_before(head).is_some(),
        }
    }

    /// This record will not be written: the pages before it may go, if nobody else needs them.
    pub(crate) fn abandon(&mut self, head: &Head) {
        let mut at = head.before;
        while let Some(page) = self.loose.get_mut(&at).filter(|page| page.since > 0.0) {
            page.since = 0.0;
            at = page.before;
        }
    }

    /// Forgets files that are gone, or that are going to be removed. What is of no use without them
    /// has to go as well.
    pub(crate) fn gone(&mut self, shelf: Shelf, name: Name) -> Vec<Doomed> {
        if let Some(bytes) = self.junk.remove(&(shelf, name)) {
            self.used -= bytes;
            return Vec::new();
        }
        let freed = match shelf {
            Shelf::Pages => match self.loose.remove(&name) {
                Some(loose) => {
                    self.used -= loose.bytes;
                    return Vec::new();
                }
                None => self.tree.cut(name),
            },
            Shelf::Frontiers => self.tree.remove(name),
        };
        let mut doomed = self.drop_freed(freed);
        doomed.retain(|&other| other != (shelf, name));
        doomed
    }

    /// Chooses files to be removed until those that stay, and the `more` bytes of a record, are
    /// within `budget`; and says whether they are. Pages before it, and before others that are
    /// still waiting for their frontier, stay.
    pub(crate) fn make_room(
        &mut self,
        record: Option<&Head>,
        more: u64,
        budget: u64,
        now: f64,
    ) -> (Vec<Doomed>, bool) {
        let mut doomed = Vec::new();
        if self.used.saturating_add(more) <= budget {
            return (doomed, true);
        }
        let needed = record.map_or_else(HashSet::new, |record| self.needed(record, now));
        while self.used.saturating_add(more) > budget {
            let junk = self.junk.keys().min().copied();
            let abandoned = self
                .loose
                .iter()
                .filter(|(name, page)| now - page.since > GRACE && !needed.contains(*name));
            let abandoned = abandoned.map(|(&name, _)| (Shelf::Pages, name)).min();
            if let Some((shelf, name)) = junk.or(abandoned) {
                self.gone(shelf, name);
                doomed.push((shelf, name));
                continue;
            }
            let Some(mut freed) = self.tree.evict(now, |_| true) else {
                // Nothing is left but what is just being written.
                return (doomed, false);
            };
            for page in freed
                .pages
                .extract_if(.., |page| needed.contains(&page.name))
            {
                let loose = Loose {
                    before: page.before,
                    tokens: page.tokens,
                    bytes: page.page.bytes,
                    since: now,
                };
                self.loose.insert(page.name, loose);
            }
            doomed.extend(self.drop_freed(freed));
        }
        (doomed, true)
    }

    /// Files that are of no use to anybody.
    pub(crate) fn useless(&mut self, now: f64) -> Vec<Doomed> {
        let loose = self
            .loose
            .iter()
            .filter(|(_, page)| now - page.since > GRACE);
        let loose = loose.map(|(&name, _)| (Shelf::Pages, name));
        let doomed: Vec<Doomed> = self.junk.keys().copied().chain(loose).collect();
        for &(shelf, name) in &doomed {
            self.gone(shelf, name);
        }
        doomed
    }

    /// Pages that a record to come, or one that waits for its frontier, builds on.
    fn needed(&self, record: &Head, now: f64) -> HashSet<Name> {
        let waiting = self.loose.values().filter(|page| now - page.since <= GRACE);
        let mut ends: Vec<Name> = waiting.map(|page| page.before).collect();
        ends.push(record.before);
        let mut needed = HashSet::new();
        for mut at in ends {
            while needed.insert(at) {
                match self.loose.get(&at) {
                    Some(page) => at = page.before,
                    None => {
                        needed.extend(self.tree.path(at).unwrap_or_default());
                        break;
                    }
                }
            }
        }
        needed
    }

    fn drop_freed(&mut self, freed: Freed<Stored, Stored>) -> Vec<Doomed> {
        // Frontiers first: a page without them is found and removed later, a frontier without its
        // pages is of no use.
        let frontiers = freed
            .frontiers
            .into_iter()
            .map(|(_, it)| (Shelf::Frontiers, it));
        let pages = freed.pages.into_iter().map(|it| (Shelf::Pages, it.page));
        let mut doomed = Vec::new();
        for (shelf, stored) in frontiers.chain(pages) {
            self.used -= stored.bytes;
            doomed.push((shelf, stored.name));
        }
        doomed
    }
}
