//! Parts of the texts of errors.

use super::Error;
use crate::document::Place;
use crate::quality::LeftOut;

/// Errors with their causes, each after a line of its own: there is no single source that could tell.
pub(super) fn one_a_line(errors: &[Error]) -> String {
    let mut text = String::new();
    for error in errors {
        text.push('\n');
        let mut cause: Option<&dyn std::error::Error> = Some(error);
        let mut separator = "";
        while let Some(error) = cause {
            text.push_str(separator);
            text.push_str(&error.to_string());
            separator = ": ";
            cause = error.source();
        }
    }
    text
}

pub(super) fn lines(left_out: &[LeftOut]) -> String {
    let each: Vec<_> = left_out.iter().map(ToString::to_string).collect();
    each.join("; ")
}

pub(super) fn position_of(position: Option<usize>, place: Option<Place>) -> String {
    let position = position.map(|position| format!(", expectation {position}"));
    let place = place.map(|place| format!(", {place}"));
    let mut of = position.into_iter().chain(place).collect::<String>();
    if !of.is_empty() {
        of.push(',');
    }
    of
}
