//! What the kernel showed at the end of a trial: all that was asked for, and as much.

use crate::judge::ledger::LedgerError;
use crate::plan::op::Op;
use crate::plan::record::Record;
use crate::topology::observation::ShownValues;

/// What was asked for with what was shown.
///
/// # Errors
/// No record of it, or one with more or fewer values than were asked for.
pub fn shown(ops: &[Op], trial: usize, records: &[&Record]) -> Result<ShownValues, LedgerError> {
    let mut all = ShownValues::new();
    for (number, op) in ops.iter().enumerate() {
        let Op::Show(asked) = op else { continue };
        let told = records.iter().find_map(|record| match record {
            Record::Shown { op, values, .. } if *op as usize == number => Some(values),
            _ => None,
        });
        let Some(values) = told else {
            return Err(LedgerError::Absent { trial, what: "what the kernel shows".into() });
        };
        if values.len() != asked.len() {
            let what = format!("{} values of {} that the kernel was to show", values.len(), asked.len());
            return Err(LedgerError::Contradiction { trial, what });
        }
        all.extend(asked.iter().cloned().zip(values.iter().cloned()));
    }
    Ok(all)
}
