//! `{{ name }}` templates, as Spin resolves them in component variables and in
//! `allowed_outbound_hosts`.

use super::variables::Variables;

/// Why a template has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// `{{` without `}}`.
    #[error("has an unmatched '{{{{' in {template:?}")]
    Unmatched {
        /// The template as written.
        template: String,
    },
    /// No such variable is declared.
    #[error("uses {{{{ {name} }}}}, but [variables] declares no {name}")]
    Undeclared {
        /// The name as written.
        name: String,
    },
    /// The variable is declared, but has no value. Its own mistake says so too.
    #[error("uses {{{{ {name} }}}}, which has no value")]
    NoValue {
        /// The name of the variable.
        name: String,
    },
}

/// Replaces every `{{ name }}` in `template` by the value of that variable.
pub(super) fn resolve(template: &str, variables: &Variables) -> Result<String, TemplateError> {
    let mut resolved = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((literal, after)) = rest.split_once("{{") {
        let Some((name, tail)) = after.split_once("}}") else {
            let template = template.to_owned();
            return Err(TemplateError::Unmatched { template });
        };
        resolved.push_str(literal);
        resolved.push_str(variables.value(name.trim())?);
        rest = tail;
    }
    resolved.push_str(rest);
    Ok(resolved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_replaced_and_the_rest_is_kept() {
        let variables = Variables::for_tests(&[("host", Some("h")), ("port", Some("80"))]);
        for (template, expected) in [
            ("", ""),
            ("plain } text", "plain } text"),
            ("http://{{ host }}:{{port}}", "http://h:80"),
            ("{{ host }}{{ host }}", "hh"),
        ] {
            assert_eq!(resolve(template, &variables).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn what_cannot_be_resolved_is_an_error_that_names_it() {
        let variables = Variables::for_tests(&[("empty", None)]);
        for (template, expected) in [
            ("a {{ b", "has an unmatched '{{' in \"a {{ b\""),
            ("{{ b }}", "uses {{ b }}, but [variables] declares no b"),
            ("{{ empty }}", "uses {{ empty }}, which has no value"),
        ] {
            let error = resolve(template, &variables).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }
}
