use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ursa_queue::RECOVERED;

/// How many receivers are told apart. Those beyond share [`OTHERS`].
const MAX_SOURCES: usize = 256;
/// The source of everything beyond [`MAX_SOURCES`].
const OTHERS: &str = "others";
/// The source of what was found on disk.
const QUEUE: &str = "queue";

/// Receivers by number, so that a stored record names its source in two bytes.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    names: Mutex<Vec<Arc<str>>>,
}

impl Sources {
    /// The number of a receiver.
    pub(crate) fn number(&self, name: &Arc<str>) -> u16 {
        let mut names = self.names();
        let known = names.iter().position(|known| Arc::ptr_eq(known, name) || known == name);
        let at = known.unwrap_or_else(|| {
            if names.len() < MAX_SOURCES {
                names.push(Arc::clone(name));
            } else if names.len() == MAX_SOURCES {
                names.push(OTHERS.into());
            }
            names.len() - 1
        });
        u16::try_from(at).unwrap_or(RECOVERED)
    }

    /// The receiver of a number.
    pub(crate) fn name(&self, number: u16) -> Arc<str> {
        let known = self.names().get(usize::from(number)).cloned();
        known.unwrap_or_else(|| QUEUE.into())
    }

    fn names(&self) -> MutexGuard<'_, Vec<Arc<str>>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
