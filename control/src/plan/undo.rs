//! Steps that were done, to be taken back in reverse when a later one fails.

struct Step<'a> {
    what: &'static str,
    back: Box<dyn FnOnce() + 'a>,
}

/// A list of what to take back. Dropped without [`Undo::keep`], it takes everything back, last
/// step first: so a `?` between two steps leaves nothing half-made.
#[derive(Default)]
pub struct Undo<'a> {
    steps: Vec<Step<'a>>,
}

impl<'a> Undo<'a> {
    /// Nothing done yet.
    pub fn new() -> Undo<'a> {
        Undo::default()
    }

    /// A step was done; `back` takes it back. `what` names it in the log.
    pub fn done(&mut self, what: &'static str, back: impl FnOnce() + 'a) {
        self.steps.push(Step {
            what,
            back: Box::new(back),
        });
    }

    /// Everything succeeded: take nothing back.
    pub fn keep(mut self) {
        self.steps.clear();
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        while let Some(Step { what, back }) = self.steps.pop() {
            tracing::debug!("undoing: {what}");
            back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    fn run(fail_at: Option<usize>) -> Vec<usize> {
        let log = RefCell::new(Vec::new());
        let work = || -> Result<(), ()> {
            let mut undo = Undo::new();
            for i in 0..3 {
                if fail_at == Some(i) {
                    return Err(());
                }
                let log = &log;
                undo.done("step", move || log.borrow_mut().push(i));
            }
            undo.keep();
            Ok(())
        };
        assert_eq!(work().is_err(), fail_at.is_some());
        log.into_inner()
    }

    #[test]
    fn takes_back_in_reverse_what_was_done() {
        assert_eq!(run(None), Vec::<usize>::new());
        assert_eq!(run(Some(0)), Vec::<usize>::new());
        assert_eq!(run(Some(2)), vec![1, 0]);
    }
}
