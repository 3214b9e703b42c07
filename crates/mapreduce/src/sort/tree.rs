//! A loser tree (Knuth, TAOCP 3, 5.4.1): the next of k runs for one comparison a level.

/// Places of k players; who lost stands in the node, the winner of all in node 0.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: Vec<usize>,
}

impl Tree {
    /// `before(a, b)`: whether player a goes first. Total and strict for different players.
    pub(super) fn new(players: usize, before: impl Fn(usize, usize) -> bool) -> Self {
        let mut tree = Self { nodes: vec![0; players.max(1)] };
        // Winners of the subtrees, leaves behind the inner nodes.
        let mut winners = vec![0; players * 2];
        for (player, leaf) in (players..players * 2).enumerate() {
            winners[leaf] = player;
        }
        for node in (1..players).rev() {
            let (one, two) = (winners[node * 2], winners[node * 2 + 1]);
            let (winner, loser) = if before(two, one) { (two, one) } else { (one, two) };
            winners[node] = winner;
            tree.nodes[node] = loser;
        }
        if players > 1 {
            tree.nodes[0] = winners[1];
        }
        tree
    }

    pub(super) fn winner(&self) -> usize {
        self.nodes[0]
    }

    /// The winner has a new head: plays again from its leaf up.
    #[inline]
    pub(super) fn replay(&mut self, before: impl Fn(usize, usize) -> bool) {
        let mut winner = self.nodes[0];
        let mut node = (winner + self.nodes.len()) / 2;
        while node > 0 {
            if before(self.nodes[node], winner) {
                std::mem::swap(&mut self.nodes[node], &mut winner);
            }
            node /= 2;
        }
        self.nodes[0] = winner;
    }
}
