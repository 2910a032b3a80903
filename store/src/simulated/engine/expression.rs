//! Condition, update and projection expressions as DynamoDB documents their grammar (developer guide, "Comparison operator
//! and function reference", "Using update expressions"), as far as it is simulated:
//!
//! ```text
//! condition  = conjunction { OR conjunction }        conjunction = term { AND term }
//! term       = NOT term | "(" condition ")" | (attribute_exists | attribute_not_exists) "(" name ")" | plain op plain
//! plain      = name | :value                           op = "=" | "<>" | "<" | "<=" | ">" | ">="
//! operand    = plain | if_not_exists "(" name "," operand ")"
//! update     = { SET name "=" operand [ ("+" | "-") operand ] … | REMOVE name … | ADD name :value … }
//! projection = name { "," name }
//! ```
//!
//! A name is that of an attribute, or `#name`: no paths into documents. Everything else is refused. That DynamoDB reserves
//! some names is not known here: the conformance suite runs on engines that know.

use super::refusal::Invalid;
use super::value::Comparison;

/// The name of an attribute, or what stands for it (`#name`).
pub(super) type Name = String;

/// What is compared or assigned.
#[derive(Debug)]
pub(super) enum Operand {
    Name(Name),
    Value(String),
    IfNotExists(Name, Box<Operand>),
}

/// What must hold.
#[derive(Debug)]
pub(super) enum Condition {
    Either(Box<Condition>, Box<Condition>),
    Both(Box<Condition>, Box<Condition>),
    Not(Box<Condition>),
    Exists(Name),
    Compare(Operand, Comparison, Operand),
}

/// What an attribute is set to.
#[derive(Debug)]
pub(super) enum Assigned {
    To(Operand),
    Sum(Operand, Operand),
    Difference(Operand, Operand),
}

/// What is to be done to an item.
#[derive(Debug, Default)]
pub(super) struct Update {
    pub(super) set: Vec<(Name, Assigned)>,
    pub(super) remove: Vec<Name>,
    pub(super) add: Vec<(Name, String)>,
}

/// An expression, and the `#names` and `:values` in it.
#[derive(Debug)]
pub(super) struct Parsed<T> {
    pub(super) is: T,
    pub(super) names: Vec<String>,
    pub(super) values: Vec<String>,
}

pub(super) fn condition(text: &str) -> Result<Parsed<Condition>, Invalid> {
    Parser::parse(text, Parser::condition)
}

pub(super) fn update(text: &str) -> Result<Parsed<Update>, Invalid> {
    Parser::parse(text, Parser::update)
}

pub(super) fn projection(text: &str) -> Result<Parsed<Vec<Name>>, Invalid> {
    Parser::parse(text, |parser| parser.list(Parser::name))
}

struct Parser<'a> {
    text: &'a str,
    /// What is still to come.
    rest: &'a str,
    names: Vec<String>,
    values: Vec<String>,
}

/// Whether a character belongs to a word: a name, a value, a keyword.
fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '#' | ':')
}

impl<'a> Parser<'a> {
    fn parse<T>(text: &'a str, rule: impl FnOnce(&mut Self) -> Result<T, Invalid>) -> Result<Parsed<T>, Invalid> {
        let mut parser = Self { text, rest: text.trim_start(), names: Vec::new(), values: Vec::new() };
        let is = rule(&mut parser)?;
        if !parser.rest.is_empty() {
            return Err(parser.syntax());
        }
        Ok(Parsed { is, names: parser.names, values: parser.values })
    }

    /// The next token: a word or a sign; empty at the end.
    fn peek(&self) -> &'a str {
        let word = self.rest.find(|c| !is_of_word(c)).unwrap_or(self.rest.len());
        let length = match word {
            0 if ["<>", "<=", ">="].iter().any(|sign| self.rest.starts_with(sign)) => 2,
            0 => self.rest.chars().next().map_or(0, char::len_utf8),
            word => word,
        };
        &self.rest[..length]
    }

    fn next(&mut self) -> &'a str {
        let token = self.peek();
        self.rest = self.rest[token.len()..].trim_start();
        token
    }

    /// Takes a keyword or a sign if it comes next.
    fn takes(&mut self, token: &str) -> bool {
        let comes = self.peek().eq_ignore_ascii_case(token);
        if comes {
            self.next();
        }
        comes
    }

    fn must_take(&mut self, token: &str) -> Result<(), Invalid> {
        if self.takes(token) { Ok(()) } else { Err(self.syntax()) }
    }

    fn syntax(&self) -> Invalid {
        Invalid::Syntax { token: self.peek().to_owned(), text: self.text.to_owned() }
    }

    fn list<T>(&mut self, mut rule: impl FnMut(&mut Self) -> Result<T, Invalid>) -> Result<Vec<T>, Invalid> {
        let mut list = vec![rule(self)?];
        while self.takes(",") {
            list.push(rule(self)?);
        }
        Ok(list)
    }

    fn condition(&mut self) -> Result<Condition, Invalid> {
        let mut left = self.conjunction()?;
        while self.takes("OR") {
            left = Condition::Either(Box::new(left), Box::new(self.conjunction()?));
        }
        Ok(left)
    }

    fn conjunction(&mut self) -> Result<Condition, Invalid> {
        let mut left = self.term()?;
        while self.takes("AND") {
            left = Condition::Both(Box::new(left), Box::new(self.term()?));
        }
        Ok(left)
    }

    fn term(&mut self) -> Result<Condition, Invalid> {
        if self.takes("NOT") {
            return Ok(Condition::Not(Box::new(self.term()?)));
        }
        if self.takes("(") {
            let inner = self.condition()?;
            self.must_take(")")?;
            return Ok(inner);
        }
        for (function, exists) in [("attribute_exists", true), ("attribute_not_exists", false)] {
            if self.peek() == function {
                self.next();
                self.must_take("(")?;
                let name = Condition::Exists(self.name()?);
                self.must_take(")")?;
                return Ok(if exists { name } else { Condition::Not(Box::new(name)) });
            }
        }
        let left = self.plain()?;
        let how = match self.peek() {
            "=" => Comparison::Equal,
            "<>" => Comparison::Unequal,
            "<" => Comparison::Less,
            "<=" => Comparison::AtMost,
            ">" => Comparison::Greater,
            ">=" => Comparison::AtLeast,
            _ => return Err(self.syntax()),
        };
        self.next();
        Ok(Condition::Compare(left, how, self.plain()?))
    }

    fn plain(&mut self) -> Result<Operand, Invalid> {
        Ok(if self.peek().starts_with(':') { Operand::Value(self.value()?) } else { Operand::Name(self.name()?) })
    }

    fn operand(&mut self) -> Result<Operand, Invalid> {
        if self.peek() != "if_not_exists" {
            return self.plain();
        }
        self.next();
        self.must_take("(")?;
        let name = self.name()?;
        self.must_take(",")?;
        let otherwise = self.operand()?;
        self.must_take(")")?;
        Ok(Operand::IfNotExists(name, Box::new(otherwise)))
    }

    fn name(&mut self) -> Result<Name, Invalid> {
        let token = self.peek();
        let (is_alias, word) = token.strip_prefix('#').map_or((false, token), |word| (true, word));
        let begins = word.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || is_alias && is_of_word(c));
        if !begins || word.contains(['#', ':']) {
            return Err(self.syntax());
        }
        if is_alias && !self.names.iter().any(|known| known == token) {
            self.names.push(token.to_owned());
        }
        Ok(self.next().to_owned())
    }

    fn value(&mut self) -> Result<String, Invalid> {
        let token = self.peek();
        if token.strip_prefix(':').is_none_or(|word| word.is_empty() || word.contains(['#', ':'])) {
            return Err(self.syntax());
        }
        if !self.values.iter().any(|known| known == token) {
            self.values.push(token.to_owned());
        }
        Ok(self.next().to_owned())
    }

    fn update(&mut self) -> Result<Update, Invalid> {
        let mut update = Update::default();
        while !self.rest.is_empty() {
            // Each clause once.
            if update.set.is_empty() && self.takes("SET") {
                update.set = self.list(Self::assignment)?;
            } else if update.remove.is_empty() && self.takes("REMOVE") {
                update.remove = self.list(Self::name)?;
            } else if update.add.is_empty() && self.takes("ADD") {
                update.add = self.list(|parser| Ok((parser.name()?, parser.value()?)))?;
            } else {
                return Err(self.syntax());
            }
        }
        if update.set.is_empty() && update.remove.is_empty() && update.add.is_empty() {
            return Err(self.syntax());
        }
        Ok(update)
    }

    fn assignment(&mut self) -> Result<(Name, Assigned), Invalid> {
        let name = self.name()?;
        self.must_take("=")?;
        let left = self.operand()?;
        let assigned = if self.takes("+") {
            Assigned::Sum(left, self.operand()?)
        } else if self.takes("-") {
            Assigned::Difference(left, self.operand()?)
        } else {
            Assigned::To(left)
        };
        Ok((name, assigned))
    }
}

#[cfg(test)]
mod tests {
    use super::{condition, projection, update};

    #[test]
    fn what_is_not_of_the_grammar_is_refused_and_not_guessed() {
        for text in [
            "",
            "t",
            "t =",
            "t = :t OR",
            "t == :t",
            "t = :t)",
            "(t = :t",
            "size(t) = :n",
            "begins_with(t, :t)",
            "contains(t, :t)",
            "t BETWEEN :a AND :b",
            "t IN (:a)",
            "a.b = :t",
            "a[0] = :t",
            "attribute_type(t, :t)",
            "attribute_exists t",
            "attribute_exists(:t)",
            "t = \"text\"",
            "t = 1",
            "NOT",
            "t = :",
            "# = :t",
            "t = :t :u",
            "if_not_exists(t, :t) = :t",
        ] {
            let parsed = condition(text);
            assert!(parsed.is_err(), "{text}: {parsed:?}");
        }
        for text in [
            "",
            "SET",
            "SET a",
            "SET a = ",
            "SET a = :a SET b = :b",
            "SET a = list_append(a, :a)",
            "DELETE a :a",
            "ADD a b",
            "SET a.b = :a",
            "REMOVE a[1]",
            "set a = :a,",
            "SET :a = :a",
            "SET a = :a + :b + :c",
            "PUT a",
        ] {
            let parsed = update(text);
            assert!(parsed.is_err(), "{text}: {parsed:?}");
        }
        for text in ["", "a,", "a b", "a.b", ":a", ","] {
            assert!(projection(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_and_values_are_listed_once() {
        let parsed = condition("NOT (#a = :x and #b<>:x or attribute_exists ( c ))").unwrap();
        assert_eq!(parsed.names, ["#a", "#b"]);
        assert_eq!(parsed.values, [":x"]);
        let parsed = update("set a=if_not_exists(#a,:x)+:y, b = a - :y remove #c ADD d :z").unwrap();
        assert_eq!((parsed.is.set.len(), parsed.is.remove.len(), parsed.is.add.len()), (2, 1, 1));
        assert_eq!(parsed.names, ["#a", "#c"]);
        assert_eq!(parsed.values, [":x", ":y", ":z"]);
    }
}
