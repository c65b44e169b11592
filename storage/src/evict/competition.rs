//! Policies in competition: a [`Miniature`] for each says how often it would have had what was asked for, and after each
//! turnover the best goes first from then on.

use super::ghost::Welcome;
use super::miniature::{Miniature, Model, Rules};

/// Another one must have more hits than the one in use by this factor.
const BETTER: f64 = 1.005;
/// What a hit counts of one that lets hardly anything in: the large cache would keep what it holds at that moment, which is not
/// what the miniature has kept.
const CLOSED: f64 = 0.9;
/// What is left of the hits counted so far after each turnover.
const DECAY: f64 = 0.85;

/// One in competition.
#[derive(Debug)]
struct Contender {
    model: Model,
    miniature: Miniature,
    /// Hits, older ones counting less.
    hits: f64,
}

impl Contender {
    /// What speaks for it.
    fn score(&self) -> f64 {
        match self.model {
            Model::Weighed(weighed) if weighed.is_closed() => self.hits * CLOSED,
            _ => self.hits,
        }
    }
}

/// See the module's page.
#[derive(Debug)]
pub(super) struct Competition {
    contenders: Vec<Contender>,
    best: usize,
    /// Uses of keys since they were compared.
    uses: usize,
}

impl Competition {
    /// A competition of these, of whom the first leads. There is one at least.
    pub(super) fn new(models: impl IntoIterator<Item = (Model, Welcome)>) -> Self {
        let contender = |(model, welcome)| Contender { model, miniature: Miniature::new(welcome), hits: 0.0 };
        Self { contenders: models.into_iter().map(contender).collect(), best: 0, uses: 0 }
    }

    /// The number of the one that leads.
    #[inline]
    pub(super) fn best(&self) -> usize {
        self.best
    }

    /// How the one that leads works.
    pub(super) fn leader(&self) -> (Model, Welcome) {
        let leader = &self.contenders[self.best];
        (leader.model, leader.miniature.welcome())
    }

    /// Exchanges the models, one for one; what the miniatures hold stays.
    pub(super) fn set_models(&mut self, models: impl IntoIterator<Item = Model>) {
        self.contenders.iter_mut().zip(models).for_each(|(contender, model)| contender.model = model);
    }

    /// Asks for what a key of this hash will need.
    pub(super) fn prefetch(&self, hash: u64) {
        self.contenders.iter().for_each(|contender| contender.miniature.prefetch(hash));
    }

    /// Does something with each miniature, whose own model stands in the rules then.
    pub(super) fn each(&mut self, rules: &Rules, mut act: impl FnMut(&mut Miniature, &Rules)) {
        for contender in &mut self.contenders {
            act(&mut contender.miniature, &Rules { model: contender.model, ..*rules });
        }
    }

    /// Lets each use a key; `act` tells whether it had it. After `turnover` uses they are compared.
    pub(super) fn compete(
        &mut self,
        rules: &Rules,
        turnover: usize,
        mut act: impl FnMut(&mut Miniature, &Rules) -> bool,
    ) {
        for contender in &mut self.contenders {
            let hit = act(&mut contender.miniature, &Rules { model: contender.model, ..*rules });
            contender.hits += f64::from(hit);
        }
        self.uses += 1;
        if self.uses >= turnover {
            self.compare();
        }
    }

    /// Whether they were compared and not used since.
    pub(super) fn is_fresh(&self) -> bool {
        self.uses == 0
    }

    fn compare(&mut self) {
        self.uses = 0;
        let mut best = self.best;
        for (number, contender) in self.contenders.iter().enumerate() {
            let lead = if best == self.best { BETTER } else { 1.0 };
            if contender.score() > self.contenders[best].score() * lead {
                best = number;
            }
        }
        self.best = best;
        self.contenders.iter_mut().for_each(|contender| contender.hits *= DECAY);
    }

    /// Bytes that the miniatures take.
    pub(super) fn memory(&self) -> usize {
        self.contenders.iter().map(|contender| contender.miniature.memory()).sum()
    }
}
