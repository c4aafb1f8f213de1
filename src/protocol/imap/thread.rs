//! Messages gathered into threads (RFC 5256 §3), and how threads are written (§4).
//!
//! `REFS` is `REFERENCES` without the gathering by subject, and the thread that had a message last comes last. Takes
//! n log n steps and memory in proportion to what it is given, and recurses nowhere: a thread may be as deep as the
//! mailbox is long.

use std::collections::HashMap;

use crate::protocol::imap::forest::Forest;
use crate::protocol::imap::syntax::sort::ThreadAlgorithm;

/// A message as threading sees it.
#[derive(Debug, Clone, Default)]
pub struct Member {
    /// As it is named in the answer.
    pub name: u32,
    /// Sent date (RFC 5256 §2.2).
    pub date: i64,
    /// Base subject, in the form in which texts are compared.
    pub subject: Box<[u8]>,
    /// Whether its subject says that it is a reply or was forwarded.
    pub is_reply: bool,
    /// What stands for its message id.
    pub id: Option<u128>,
    /// What stands for the ids of its references, the oldest first.
    pub references: Vec<u128>,
}

/// Threads of messages, each known by its place in what was given.
#[derive(Debug)]
pub struct Threads {
    tops: Vec<Top>,
    /// By the message above them.
    children: Vec<Vec<u32>>,
}

#[derive(Debug)]
enum Top {
    Message(u32),
    /// Siblings whose parent is not among the messages: a dummy, in the words of the RFC. Two at least.
    Siblings(Vec<u32>),
    /// Went into another thread.
    Merged,
}

/// Gathers messages, which come in the order of the mailbox.
#[must_use]
pub fn threads(algorithm: ThreadAlgorithm, members: &[Member]) -> Threads {
    let mut threads = match algorithm {
        ThreadAlgorithm::OrderedSubject => by_subject(members),
        ThreadAlgorithm::References | ThreadAlgorithm::Refs => by_references(members),
    };
    threads.sort(members);
    match algorithm {
        ThreadAlgorithm::OrderedSubject => {}
        ThreadAlgorithm::References => {
            threads.merge_subjects(members);
            threads.sort(members);
        }
        ThreadAlgorithm::Refs => threads.sort_by_latest(members),
    }
    threads
}

/// What siblings are sorted by: sent date, then place in the mailbox.
fn order(members: &[Member], at: u32) -> (i64, u32) {
    (members[at as usize].date, at)
}

fn by_subject(members: &[Member]) -> Threads {
    let mut sorted: Vec<u32> = (0..).zip(members).map(|(at, _)| at).collect();
    let subject = |at: u32| &members[at as usize].subject;
    sorted.sort_unstable_by(|a, b| subject(*a).cmp(subject(*b)).then(order(members, *a).cmp(&order(members, *b))));
    let mut children = vec![Vec::new(); members.len()];
    let mut tops = Vec::new();
    for thread in sorted.chunk_by(|a, b| subject(*a) == subject(*b)) {
        if let Some((first, others)) = thread.split_first() {
            children[*first as usize] = others.to_vec();
            tops.push(Top::Message(*first));
        }
    }
    Threads { tops, children }
}

/// Where a message hangs when the dummies are gone.
#[derive(Debug, Clone, Copy)]
enum Above {
    Message(u32),
    /// A dummy without a parent.
    Dummy(u32),
}

/// The nodes of the messages and of the dummies.
struct Nodes {
    forest: Forest,
    /// The message of a node; `None` for a dummy.
    messages: Vec<Option<u32>>,
    of_ids: HashMap<u128, u32>,
}

impl Nodes {
    fn add(&mut self, message: Option<u32>) -> u32 {
        self.messages.push(message);
        self.forest.add()
    }

    /// The node of an id, which may be a new dummy.
    fn of_id(&mut self, id: u128) -> u32 {
        if let Some(node) = self.of_ids.get(&id) {
            return *node;
        }
        let node = self.add(None);
        self.of_ids.insert(id, node);
        node
    }
}

/// Steps 1 to 3.
fn by_references(members: &[Member]) -> Threads {
    let mut nodes = Nodes { forest: Forest::default(), messages: Vec::new(), of_ids: HashMap::new() };
    // Nodes of messages come first, so that a message and its node have the same number.
    for (at, member) in (0..).zip(members) {
        let node = nodes.add(Some(at));
        if let Some(id) = member.id {
            // Of two with the same id it names the first.
            nodes.of_ids.entry(id).or_insert(node);
        }
    }
    for (at, member) in (0..).zip(members) {
        let mut parent = None;
        for id in &member.references {
            let node = nodes.of_id(*id);
            if let Some(parent) = parent.filter(|_| nodes.forest.parent(node).is_none()) {
                nodes.forest.link(node, parent);
            }
            parent = Some(node);
        }
        if nodes.forest.parent(at) != parent {
            nodes.forest.cut(at);
            if let Some(parent) = parent {
                nodes.forest.link(at, parent);
            }
        }
    }
    prune(members.len(), &nodes)
}

/// Steps 2 and 3: takes the dummies out.
fn prune(count: usize, nodes: &Nodes) -> Threads {
    let mut above: Vec<Option<Above>> = vec![None; nodes.forest.len()];
    let mut children = vec![Vec::new(); count];
    let mut tops = Vec::new();
    let mut siblings: HashMap<u32, Vec<u32>> = HashMap::new();
    for at in (0..).take(count) {
        let hung = nodes.forest.parent(at).map(|up| anchor(nodes, &mut above, up));
        match hung {
            None => tops.push(Top::Message(at)),
            Some(Above::Message(parent)) => children[parent as usize].push(at),
            Some(Above::Dummy(dummy)) => siblings.entry(dummy).or_default().push(at),
        }
    }
    tops.extend(siblings.into_values().map(|siblings| match siblings.as_slice() {
        [only] => Top::Message(*only),
        _ => Top::Siblings(siblings),
    }));
    Threads { tops, children }
}

/// The first message from a node upwards, or the dummy at the top. What is found is kept for all nodes on the way.
fn anchor(nodes: &Nodes, known: &mut [Option<Above>], node: u32) -> Above {
    let mut way = Vec::new();
    let mut at = node;
    let found = loop {
        if let Some(message) = nodes.messages[at as usize] {
            break Above::Message(message);
        }
        if let Some(found) = known[at as usize] {
            break found;
        }
        way.push(at);
        match nodes.forest.parent(at) {
            Some(up) => at = up,
            None => break Above::Dummy(at),
        }
    };
    for node in way {
        known[node as usize] = Some(found);
    }
    found
}

impl Threads {
    /// Steps 4 and 6: siblings by sent date, threads by that of their first message.
    fn sort(&mut self, members: &[Member]) {
        for siblings in &mut self.children {
            siblings.sort_unstable_by_key(|at| order(members, *at));
        }
        self.tops.retain(|top| !matches!(top, Top::Merged));
        for top in &mut self.tops {
            if let Top::Siblings(siblings) = top {
                siblings.sort_unstable_by_key(|at| order(members, *at));
            }
        }
        self.tops.sort_unstable_by_key(|top| top.first().map(|at| order(members, at)));
    }

    /// Threads by the sent date of their latest message.
    fn sort_by_latest(&mut self, members: &[Member]) {
        let tops = std::mem::take(&mut self.tops);
        let mut dated: Vec<((i64, u32), Top)> = Vec::with_capacity(tops.len());
        for top in tops {
            let mut left = top.heads().to_vec();
            let mut latest = (i64::MIN, 0);
            while let Some(at) = left.pop() {
                latest = latest.max(order(members, at));
                left.extend(&self.children[at as usize]);
            }
            dated.push((latest, top));
        }
        dated.sort_unstable_by_key(|(latest, _)| *latest);
        self.tops = dated.into_iter().map(|(_, top)| top).collect();
    }

    /// Step 5: threads of the same subject become one.
    fn merge_subjects(&mut self, members: &[Member]) {
        let subject = |top: &Top| top.first().map_or(&[][..], |at| &members[at as usize].subject);
        let is_reply = |at: u32| members[at as usize].is_reply;
        let mut table: HashMap<&[u8], usize> = HashMap::new();
        for (at, top) in self.tops.iter().enumerate() {
            let subject = subject(top);
            if subject.is_empty() {
                continue;
            }
            let place = table.entry(subject).or_insert(at);
            // (B iv)
            let better = match (&self.tops[*place], top) {
                (Top::Message(_), Top::Siblings(_)) => true,
                (Top::Message(there), Top::Message(this)) => is_reply(*there) && !is_reply(*this),
                _ => false,
            };
            if better {
                *place = at;
            }
        }
        for at in 0..self.tops.len() {
            let Some(place) = table.get(subject(&self.tops[at])).copied().filter(|place| *place != at) else {
                continue;
            };
            let this = std::mem::replace(&mut self.tops[at], Top::Merged);
            // (C iv)
            match (&mut self.tops[place], this) {
                (Top::Siblings(siblings), this) => siblings.extend(this.heads()),
                (Top::Message(there), Top::Message(this)) if is_reply(this) && !is_reply(*there) => {
                    self.children[*there as usize].push(this);
                }
                (Top::Message(there), this) => {
                    let mut siblings = vec![*there];
                    siblings.extend(this.heads());
                    self.tops[place] = Top::Siblings(siblings);
                }
                (Top::Merged, this) => self.tops[at] = this,
            }
        }
    }

    /// The threads as THREAD has them: `(2)(3 6 (4 23)(44 7 96))`.
    #[must_use]
    pub fn to_text(&self, members: &[Member]) -> String {
        enum Step {
            Open(u32),
            Close,
        }
        let mut out = String::new();
        let mut left = Vec::new();
        for top in &self.tops {
            out.push('(');
            match top.heads() {
                // What follows closes the parenthesis of the thread itself.
                [only] => {
                    out.pop();
                    left.push(Step::Open(*only));
                }
                heads => {
                    left.push(Step::Close);
                    left.extend(heads.iter().rev().map(|at| Step::Open(*at)));
                }
            }
            while let Some(step) = left.pop() {
                let Step::Open(mut at) = step else {
                    out.push(')');
                    continue;
                };
                out.push('(');
                left.push(Step::Close);
                loop {
                    out.push_str(&members[at as usize].name.to_string());
                    match self.children[at as usize].as_slice() {
                        [] => break,
                        [only] => {
                            out.push(' ');
                            at = *only;
                        }
                        several => {
                            out.push(' ');
                            left.extend(several.iter().rev().map(|at| Step::Open(*at)));
                            break;
                        }
                    }
                }
            }
        }
        out
    }
}

impl Top {
    /// The messages at the top.
    fn heads(&self) -> &[u32] {
        match self {
            Self::Message(at) => std::slice::from_ref(at),
            Self::Siblings(siblings) => siblings,
            Self::Merged => &[],
        }
    }

    /// The one that stands for the thread: of siblings in their order the first.
    fn first(&self) -> Option<u32> {
        self.heads().first().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Message id, references, subject (`~` in front for a reply); dates as they come.
    fn members(given: &[(u128, &[u128], &str)]) -> Vec<Member> {
        let member = |(name, (id, references, subject)): (u32, &(u128, &[u128], &str))| Member {
            name,
            date: i64::from(name),
            subject: subject.trim_start_matches('~').as_bytes().into(),
            is_reply: subject.starts_with('~'),
            id: Some(*id).filter(|id| *id != 0),
            references: references.to_vec(),
        };
        (1..).zip(given).map(member).collect()
    }

    fn text(algorithm: ThreadAlgorithm, members: &[Member]) -> String {
        threads(algorithm, members).to_text(members)
    }

    #[test]
    fn references() {
        use ThreadAlgorithm::References;
        for (given, expected) in [
            (vec![], ""),
            (vec![(1, &[][..], "a"), (2, &[1], "b"), (3, &[1, 2], "c")], "(1 2 3)"),
            // The parent is missing: siblings.
            (vec![(2, &[1], "a"), (3, &[1], "b")], "((1)(2))"),
            (vec![(2, &[1], "a")], "(1)"),
            // Dummies below dummies.
            (vec![(4, &[1, 2, 3], "a"), (5, &[1, 2], "b"), (6, &[1], "c")], "((1)(2)(3))"),
            (vec![(4, &[1, 2, 3], "a"), (1, &[], "b")], "(2 1)"),
            // Branches.
            (
                vec![(1, &[], "a"), (2, &[1], "b"), (3, &[1, 2], "c"), (4, &[1, 2], "d"), (5, &[3], "e")],
                "(1 2 (3 5)(4))",
            ),
            // Loops.
            (vec![(1, &[2], "a"), (2, &[1], "b")], "(2 1)"),
            (vec![(1, &[1], "a")], "(1)"),
            (vec![(1, &[3, 2], "a"), (2, &[1, 3], "b"), (3, &[2, 1], "c")], "(3 2 1)"),
            // The same id twice; none at all.
            (vec![(1, &[], "a"), (1, &[], "b"), (2, &[1], "c"), (0, &[1], "d")], "(1 (3)(4))(2)"),
            // A truncated list is set right by the message itself.
            (vec![(3, &[1, 2], "a"), (2, &[], "b"), (1, &[], "c")], "(2 1)(3)"),
            // Subjects.
            (vec![(1, &[], "a"), (2, &[], "~a"), (3, &[], "~a")], "(1 (2)(3))"),
            (vec![(1, &[], "~a"), (2, &[], "a")], "(2 1)"),
            (vec![(1, &[], "a"), (2, &[], "a")], "((1)(2))"),
            (vec![(1, &[], "~a"), (2, &[], "~a"), (3, &[], "~a")], "((1)(2)(3))"),
            (vec![(1, &[9], "a"), (2, &[9], "x"), (3, &[], "a"), (4, &[8], "~a"), (5, &[8], "y")], "((1)(2)(3)(4)(5))"),
            (vec![(1, &[], ""), (2, &[], "")], "(1)(2)"),
        ] {
            assert_eq!(text(References, &members(&given)), expected, "{given:?}");
        }
    }

    #[test]
    fn siblings_are_sorted_by_date_and_threads_by_their_first() {
        use ThreadAlgorithm::OrderedSubject;
        use ThreadAlgorithm::References;
        use ThreadAlgorithm::Refs;
        let mut given = members(&[(1, &[], "a"), (2, &[1], "a"), (3, &[1], "a"), (4, &[], "b"), (5, &[], "a")]);
        for (member, date) in given.iter_mut().zip([10, 40, 30, 20, 5]) {
            member.date = date;
        }
        assert_eq!(text(Refs, &given), "(5)(4)(1 (3)(2))");
        assert_eq!(text(References, &given), "((5)(1 (3)(2)))(4)");
        assert_eq!(text(OrderedSubject, &given), "(5 (1)(3)(2))(4)");
        given[3].date = 50;
        assert_eq!(text(Refs, &given), "(5)(1 (3)(2))(4)");
    }

    #[test]
    fn as_the_rfc_writes_them() {
        // RFC 5256 §4.
        let given = [
            (2, &[][..], "a"),
            (3, &[], "b"),
            (4, &[3, 6], "c"),
            (6, &[3], "d"),
            (7, &[44], "e"),
            (23, &[4], "f"),
            (44, &[6], "g"),
            (96, &[7], "h"),
        ];
        let mut given = members(&given);
        for (member, name) in given.iter_mut().zip([2, 3, 4, 6, 7, 23, 44, 96]) {
            member.name = name;
        }
        assert_eq!(text(ThreadAlgorithm::References, &given), "(2)(3 6 (4 23)(44 7 96))");
    }

    #[test]
    fn a_thread_as_deep_as_the_mailbox_is_long() {
        let count = 100_000_u32;
        let member = |n: u32| Member {
            name: n + 1,
            date: 0,
            subject: Box::default(),
            is_reply: true,
            id: Some(u128::from(n)),
            references: n.checked_sub(1).map(u128::from).into_iter().collect(),
        };
        let members: Vec<Member> = (0..count).map(member).collect();
        for algorithm in [ThreadAlgorithm::References, ThreadAlgorithm::Refs, ThreadAlgorithm::OrderedSubject] {
            let text = text(algorithm, &members);
            assert!(text.starts_with(if algorithm == ThreadAlgorithm::OrderedSubject {
                "(1 (2)(3)"
            } else {
                "(1 2 3 "
            }));
        }
        // The other way round: each message is told of before its parent is there.
        let members: Vec<Member> = (0..count).rev().map(member).collect();
        assert!(text(ThreadAlgorithm::Refs, &members).starts_with("(1 2 3 "));
    }
}
