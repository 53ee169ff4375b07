use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What became of the items that were received for a backend. At every moment
/// `received = delivered + waiting + in_flight + dropped + filtered + merged`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ledger {
    /// Items acknowledged to their sender, and those of `recovered`.
    pub received: u64,
    /// Items found on disk when the backend was made: received before, mostly by an earlier process.
    pub recovered: u64,
    /// Items that the backend acknowledged.
    pub delivered: u64,
    /// Items in the queue that are not being sent at this moment.
    pub waiting: u64,
    /// Items among those waiting that were sent in vain and are tried again.
    #[serde(default)]
    pub retrying: u64,
    /// Items that are being sent.
    pub in_flight: u64,
    /// Items lost for good, by reason: `queue_full`, `expired`, `retry_exhausted`, `rejected`,
    /// `disk`.
    pub dropped: BTreeMap<String, u64>,
    /// Items that a filter took out, by its rule.
    pub filtered: BTreeMap<String, u64>,
    /// Items that became part of others.
    pub merged: u64,
    /// Received less everything else, with what waits as the queue counts it. Anything but 0 is a
    /// defect of this program.
    pub difference: i64,
}

impl Ledger {
    /// Adds another account.
    pub fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.recovered += other.recovered;
        self.delivered += other.delivered;
        self.waiting += other.waiting;
        self.retrying += other.retrying;
        self.in_flight += other.in_flight;
        self.merged += other.merged;
        self.difference += other.difference;
        for (of, with) in
            [(&mut self.dropped, &other.dropped), (&mut self.filtered, &other.filtered)]
        {
            for (reason, items) in with {
                *of.entry(reason.clone()).or_default() += items;
            }
        }
    }

    /// With what is tried again among those waiting, as which the queue does not count it, and the difference worked out.
    pub(crate) fn balanced(mut self) -> Self {
        self.retrying = self.retrying.min(self.in_flight);
        self.in_flight -= self.retrying;
        self.waiting += self.retrying;
        let lost: u64 = self.dropped.values().chain(self.filtered.values()).sum();
        let out = self.delivered + self.waiting + self.in_flight + lost + self.merged;
        self.difference = self.received.cast_signed() - out.cast_signed();
        self
    }
}
