//! Rooted trees that are joined and cut, and asked for the root of a node: link-cut trees (Sleator and Tarjan).
//!
//! Every operation takes logarithmic time on average, however deep the trees are, so that a chain of 100,000 replies
//! costs no more than as many threads. Nothing recurses.

/// No node.
const NONE: u32 = u32::MAX;

/// A forest of nodes that are known by their numbers, from 0.
#[derive(Debug, Default)]
pub struct Forest {
    /// Parents in the forest itself.
    parents: Vec<u32>,
    nodes: Vec<Node>,
}

/// A node of a splay tree, which holds one path of the forest, the top first.
#[derive(Debug, Clone, Copy)]
struct Node {
    left: u32,
    right: u32,
    /// Within the splay tree; of its root, the node of the forest that the path hangs on.
    up: u32,
}

impl Forest {
    /// How many nodes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parents.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parents.is_empty()
    }

    /// A new node, alone.
    pub fn add(&mut self) -> u32 {
        let node = u32::try_from(self.parents.len()).unwrap_or(NONE);
        self.parents.push(NONE);
        self.nodes.push(Node { left: NONE, right: NONE, up: NONE });
        node
    }

    /// What stands above a node.
    #[must_use]
    pub fn parent(&self, node: u32) -> Option<u32> {
        Some(self.parents[node as usize]).filter(|parent| *parent != NONE)
    }

    /// Puts `child`, which has no parent, below `parent`; not where it would then be below itself.
    pub fn link(&mut self, child: u32, parent: u32) -> bool {
        if self.root(parent) == child {
            return false;
        }
        self.splay(child);
        self.nodes[child as usize].up = parent;
        self.parents[child as usize] = parent;
        true
    }

    /// Takes a node, with all below it, from its parent.
    pub fn cut(&mut self, node: u32) {
        self.access(node);
        let above = std::mem::replace(&mut self.nodes[node as usize].left, NONE);
        if above != NONE {
            self.nodes[above as usize].up = NONE;
        }
        self.parents[node as usize] = NONE;
    }

    /// The top of the tree in which a node is.
    pub fn root(&mut self, node: u32) -> u32 {
        self.access(node);
        let mut top = node;
        while self.nodes[top as usize].left != NONE {
            top = self.nodes[top as usize].left;
        }
        self.splay(top);
        top
    }

    /// Makes the path from the root to `node` one splay tree with `node` at its top, and nothing below it.
    fn access(&mut self, node: u32) {
        let (mut below, mut at) = (NONE, node);
        while at != NONE {
            self.splay(at);
            self.nodes[at as usize].right = below;
            (below, at) = (at, self.nodes[at as usize].up);
        }
        self.splay(node);
    }

    /// Whether `node` is the top of its splay tree.
    fn is_top(&self, node: u32) -> bool {
        let up = self.nodes[node as usize].up;
        up == NONE || (self.nodes[up as usize].left != node && self.nodes[up as usize].right != node)
    }

    fn splay(&mut self, node: u32) {
        while !self.is_top(node) {
            let up = self.nodes[node as usize].up;
            if !self.is_top(up) {
                let top = self.nodes[up as usize].up;
                let same = (self.nodes[up as usize].left == node) == (self.nodes[top as usize].left == up);
                self.rotate(if same { up } else { node });
            }
            self.rotate(node);
        }
    }

    /// Puts `node` in the place of the one above it in the splay tree.
    fn rotate(&mut self, node: u32) {
        let up = self.nodes[node as usize].up;
        let top = self.nodes[up as usize].up;
        let up_is_top = self.is_top(up);
        let moved = if self.nodes[up as usize].left == node {
            let moved = std::mem::replace(&mut self.nodes[node as usize].right, up);
            self.nodes[up as usize].left = moved;
            moved
        } else {
            let moved = std::mem::replace(&mut self.nodes[node as usize].left, up);
            self.nodes[up as usize].right = moved;
            moved
        };
        if moved != NONE {
            self.nodes[moved as usize].up = up;
        }
        if !up_is_top {
            let place = &mut self.nodes[top as usize];
            if place.left == up {
                place.left = node;
            } else {
                place.right = node;
            }
        }
        self.nodes[up as usize].up = node;
        self.nodes[node as usize].up = top;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_walking_up() {
        let mut forest = Forest::default();
        let count = 60;
        for _ in 0..count {
            forest.add();
        }
        let mut random = 12_345_u64;
        let mut next = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            u32::try_from(random >> 33).unwrap_or(0)
        };
        for _ in 0..20_000 {
            let (a, b) = (next() % count, next() % count);
            let walk = |forest: &Forest, mut node: u32| {
                while let Some(parent) = forest.parent(node) {
                    node = parent;
                }
                node
            };
            match next() % 3 {
                0 => forest.cut(a),
                _ if forest.parent(a).is_none() => {
                    let loops = walk(&forest, b) == a;
                    assert_eq!(forest.link(a, b), !loops);
                }
                _ => assert_eq!(forest.root(a), walk(&forest, a)),
            }
        }
    }

    #[test]
    fn a_long_chain_is_no_trouble() {
        let mut forest = Forest::default();
        for n in 0..200_000 {
            assert_eq!(forest.add(), n);
            assert!(n == 0 || forest.link(n, n - 1));
        }
        assert_eq!(forest.root(199_999), 0);
        assert!(!forest.link(0, 199_999));
    }
}
