//! A matrix in the format that was asked for.

use crate::cli::annotations;
use crate::cli::failure::Failure;
use crate::cli::look;
use crate::cli::matrix::Format;
use bondlab_core::report::document::Document;
use bondlab_core::report::matrix::Matrix;
use bondlab_core::report::{format, grid, junit, ktap};

/// Prints a matrix; nothing else goes to standard output.
///
/// # Errors
/// KCIDB does not take the name of the CI system.
pub fn print(format: Format, matrix: &Matrix) -> Result<(), Failure> {
    match format {
        Format::Text => print!("{}", grid::render_in(matrix, look::width())),
        Format::Json => {
            println!("{}", format::json(matrix).expect("a result has text keys only"));
        }
        Format::Junit => print!("{}", junit::render(matrix)),
        Format::Ktap => print!("{}", ktap::render(matrix)),
        Format::Github => print!("{}", annotations::of_matrix(matrix)),
        Format::Kcidb => {
            let documents: Vec<&Document> = matrix.cells.iter().map(|cell| &cell.document).collect();
            println!("{}", annotations::kcidb(&documents)?);
        }
    }
    for cell in &matrix.cells {
        if let Some(difference) = &cell.shared_guest {
            let (topology, kernel) = (&cell.document.topology, &cell.document.kernel.id);
            eprintln!(
                "note: {topology}@{kernel} did something else in a guest that it shared with other topologies: {difference}\n\
                 hint: the result is that of its own guest; `--guests own --repeat 5` shows whether the topology itself \
                 depends on chance; if it does not, report the difference"
            );
        }
    }
    if matrix.interrupted && format != Format::Text {
        eprint!("{}", grid::summary(matrix));
    }
    if format != Format::Github && annotations::are_read() {
        eprint!("{}", annotations::of_matrix(matrix));
    }
    Ok(())
}
