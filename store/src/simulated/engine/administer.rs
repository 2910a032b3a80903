//! Making and describing tables.

use serde_json::{Value, json};

use super::refusal::{Invalid, Refusal};
use super::table::Table;
use super::{State, known, only};

impl State {
    /// `CreateTable`: it is there at once.
    pub(super) fn create_table(&mut self, asked: &Value) -> Result<String, Refusal> {
        let asked = only(asked, &["TableName", "BillingMode", "AttributeDefinitions", "KeySchema"])?;
        let name = known::text(asked, "TableName")?;
        if self.tables.contains_key(name) {
            return Err(Refusal::TableExists(name.to_owned()));
        }
        let mut key = Vec::new();
        let definitions = known::list(asked, "AttributeDefinitions", 2)?;
        for (element, kind) in known::list(asked, "KeySchema", 2)?.iter().zip(["HASH", "RANGE"]) {
            let attribute = element["AttributeName"].as_str().ok_or(Invalid::Member("AttributeName"))?;
            let is_string = json!({"AttributeName": attribute, "AttributeType": "S"});
            if element["KeyType"] != kind || !definitions.contains(&is_string) {
                return Err(Invalid::not_simulated("a key", element).into());
            }
            key.push(attribute.to_owned());
        }
        if key.len() != definitions.len() {
            return Err(Invalid::Member("AttributeDefinitions").into());
        }
        self.tables.insert(name.to_owned(), Table::new(key));
        Ok(json!({"TableDescription": self.description(name)?}).to_string())
    }

    /// `DescribeTable`.
    pub(super) fn describe_table(&self, asked: &Value) -> Result<String, Refusal> {
        let name = known::text(only(asked, &["TableName"])?, "TableName")?;
        Ok(json!({"Table": self.description(name)?}).to_string())
    }

    fn description(&self, name: &str) -> Result<Value, Refusal> {
        let table = self.tables.get(name).ok_or(Refusal::NoTable)?;
        let schema = table.key.iter().zip(["HASH", "RANGE"]);
        let schema: Vec<_> = schema.map(|(name, kind)| json!({"AttributeName": name, "KeyType": kind})).collect();
        let attributes: Vec<_> =
            table.key.iter().map(|name| json!({"AttributeName": name, "AttributeType": "S"})).collect();
        let items = table.slots.values().filter(|slot| slot.item.is_some()).count();
        Ok(json!({
            "TableName": name, "TableStatus": "ACTIVE", "ItemCount": items, "KeySchema": schema,
            "AttributeDefinitions": attributes,
        }))
    }

    /// `UpdateTimeToLive`: it is enabled at once, and stays so.
    pub(super) fn update_ttl(&mut self, asked: &Value) -> Result<String, Refusal> {
        let asked = only(asked, &["TableName", "TimeToLiveSpecification"])?;
        let specification = known::map(asked, "TimeToLiveSpecification")?;
        let table = self.tables.get_mut(known::text(asked, "TableName")?).ok_or(Refusal::NoTable)?;
        if !known::flag(specification, "Enabled")? {
            return Err(Invalid::not_simulated("to disable", "TTL").into());
        }
        if table.ttl.is_some() {
            return Err(Invalid::TtlEnabled.into());
        }
        table.ttl = Some(known::text(specification, "AttributeName")?.to_owned());
        Ok(json!({"TimeToLiveSpecification": specification}).to_string())
    }

    /// `DescribeTimeToLive`.
    pub(super) fn describe_ttl(&self, asked: &Value) -> Result<String, Refusal> {
        let name = known::text(only(asked, &["TableName"])?, "TableName")?;
        let description = match &self.tables.get(name).ok_or(Refusal::NoTable)?.ttl {
            Some(attribute) => json!({"TimeToLiveStatus": "ENABLED", "AttributeName": attribute}),
            None => json!({"TimeToLiveStatus": "DISABLED"}),
        };
        Ok(json!({"TimeToLiveDescription": description}).to_string())
    }
}
