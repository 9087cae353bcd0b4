//! What is certain before anything is timed: which cases there are, that their
//! outputs are right, what they compute, and which kernel is the best one.

mod side;

use side::{Side, Standing, Unmeasured};

use super::arena::{Trouble, Who};
use super::{GateError, Observer, Plan};
use crate::compare::{Case, Verdict};
use crate::kernel::Choice;
use crate::kernel::id::CaseId;
use crate::session::WorkerError;

/// A case that can be timed on both sides.
#[derive(Clone)]
pub(super) struct Ready {
    pub id: CaseId,
    /// Kernel and parameters of base.
    pub base: Choice,
    /// Kernel and parameters of head.
    pub head: Choice,
    /// Those of base where head has chosen others although it has them as well.
    pub passed_over: Option<Choice>,
    /// Changes to be told of.
    pub notes: Vec<String>,
}

/// What is known once every case has been looked at.
pub(super) struct Known {
    /// Cases that cannot be timed, and why.
    pub ended: Vec<Case>,
    /// Cases that can.
    pub ready: Vec<Ready>,
    /// Whether every case was come to.
    pub complete: bool,
    /// Why no energy can be read; that of both sides is read the same way.
    pub energy: Result<(), String>,
}

impl Known {
    /// Looks at every case. The inner error says why base cannot be compared with at
    /// all.
    ///
    /// # Errors
    /// When head cannot be measured, or no case is named.
    pub(super) fn of(
        plan: &Plan,
        observer: &mut dyn Observer,
    ) -> Result<Result<Self, String>, GateError> {
        let mut base = Side::new(plan, Who::Base);
        let mut head = Side::new(plan, Who::Head);
        let cases = match Listed::of(&mut base, &mut head) {
            Ok(Ok(cases)) => cases,
            Ok(Err(filter)) => return Err(GateError::NoCases(filter)),
            Err(Trouble::Interrupted) => return Err(GateError::Interrupted),
            Err(Trouble::With(Who::Head, why)) => {
                return Err(GateError::Adapter(WorkerError::Refused(why)));
            }
            Err(Trouble::With(Who::Base, why)) => {
                return Ok(Err(format!("base cannot be measured: {why}")));
            }
        };
        let mut known = Self {
            ended: Vec::new(),
            ready: Vec::new(),
            complete: true,
            energy: head.energy(),
        };
        for (index, case) in cases.iter().enumerate() {
            observer.case_begins(&case.id, index, cases.len());
            match case.look(&mut base, &mut head, observer) {
                Ok(Outcome::Ready(ready)) => known.ready.push(ready),
                Ok(Outcome::Ended(case)) => known.ended.push(case),
                Err(Trouble::With(who, why)) => known.ended.push(case.failed(who, &why)),
                Err(Trouble::Interrupted) => {
                    known.complete = false;
                    break;
                }
            }
        }
        Ok(Ok(known))
    }
}

enum Outcome {
    Ready(Ready),
    Ended(Case),
}

/// A case by its name, and who has it.
struct Listed {
    id: String,
    in_base: bool,
    in_head: bool,
}

impl Listed {
    /// What the filters select on either side; the inner error is a filter that
    /// selects nothing. What one side does not list it is asked for by name: a list
    /// may have become shorter with every kernel still there.
    fn of(base: &mut Side, head: &mut Side) -> Result<Result<Vec<Self>, String>, Trouble> {
        let filters = &head.plan.filters;
        let of_head = head.list(filters)?;
        // A name that means nothing to head is a mistake even where base is unheard.
        let mut unknown = Vec::new();
        for filter in filters {
            if head.list(std::slice::from_ref(filter))?.is_empty() {
                unknown.push(filter);
            }
        }
        let of_base = match (base.list(filters), unknown.first()) {
            (Err(Trouble::With(..)), Some(&filter)) => return Ok(Err(filter.clone())),
            (of_base, _) => of_base?,
        };
        for filter in unknown {
            if base.list(std::slice::from_ref(filter))?.is_empty() {
                return Ok(Err(filter.clone()));
            }
        }
        let missing = |from: &[String], all: &[String]| -> Vec<String> {
            let missing = all.iter().filter(|id| !from.contains(id));
            missing.cloned().collect()
        };
        let (gone, new) = (missing(&of_head, &of_base), missing(&of_base, &of_head));
        let still_there = head.list_named(&gone)?;
        let there_before = base.list_named(&new)?;
        let ids = of_head.iter().chain(&gone);
        let listed = ids.map(|id| Self {
            in_base: of_base.contains(id) || there_before.contains(id),
            in_head: of_head.contains(id) || still_there.contains(id),
            id: id.clone(),
        });
        Ok(Ok(listed.collect()))
    }

    /// Looks at the case on both sides.
    fn look(
        &self,
        base: &mut Side,
        head: &mut Side,
        observer: &mut dyn Observer,
    ) -> Result<Outcome, Trouble> {
        if !self.in_head {
            return Ok(self.ended(Verdict::Gone, true, "head has no such case"));
        }
        if !self.in_base {
            return Ok(self.ended(Verdict::New, false, "base has no such case"));
        }
        let id: CaseId = match self.id.parse() {
            Ok(id) => id,
            Err(error) => return Ok(self.ended(Verdict::Incomparable, true, error)),
        };
        let before = base.look(&id, None, observer)?;
        let after = head.look(&id, before.as_ref().ok(), observer)?;
        Ok(match (before, after) {
            (Ok(before), Ok(after)) => match different_work(&id, &before, &after) {
                Some(why) => Outcome::Ended(Case {
                    different_work: true,
                    fails: true,
                    ..Case::untimed(&self.id, Verdict::Incomparable, why)
                }),
                None => Outcome::Ready(Ready {
                    id,
                    base: before.choice,
                    head: after.choice,
                    passed_over: after.passed_over,
                    notes: after.notes,
                }),
            },
            (Ok(_), Err(Unmeasured::Skipped(why))) => {
                let note = format!("head cannot run it any more: {why}");
                self.ended(Verdict::Gone, true, note)
            }
            (Ok(_), Err(Unmeasured::Wrong(why))) => {
                self.ended(Verdict::Incomparable, true, format!("head {why}"))
            }
            (Err(Unmeasured::Skipped(why)), Ok(_)) => {
                let note = format!("base could not run it: {why}");
                self.ended(Verdict::New, false, note)
            }
            (Err(Unmeasured::Wrong(why)), Ok(_)) => {
                self.ended(Verdict::Incomparable, false, format!("base {why}"))
            }
            (Err(_), Err(Unmeasured::Skipped(why) | Unmeasured::Wrong(why))) => {
                let note = format!("as in base, head {why}");
                self.ended(Verdict::Incomparable, false, note)
            }
        })
    }

    fn ended(&self, verdict: Verdict, fails: bool, note: impl ToString) -> Outcome {
        Outcome::Ended(Case {
            fails,
            ..Case::untimed(&self.id, verdict, note.to_string())
        })
    }

    /// A worker died or hung.
    fn failed(&self, who: Who, why: &str) -> Case {
        Case {
            fails: who == Who::Head,
            ..Case::untimed(&self.id, Verdict::Incomparable, format!("{who} {why}"))
        }
    }
}

/// Whether the two do not compute the same amount. What a ceiling computes depends on
/// the program, so that only programs with the same parameters are held together.
fn different_work(id: &CaseId, base: &Standing, head: &Standing) -> Option<String> {
    let pairs = base.programs.iter().flat_map(|before| {
        let same = head.programs.iter();
        same.filter(|after| !id.operation.is_ceiling() || after.parameters == before.parameters)
            .map(move |after| (before.work, after.work))
    });
    let (before, after) = pairs.into_iter().find(|(before, after)| before != after)?;
    Some(format!(
        "the work differs: {} operations and {} bytes in base, {} and {} in head",
        before.operations, before.bytes, after.operations, after.bytes
    ))
}
