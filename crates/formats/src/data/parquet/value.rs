//! A Parquet value as the JSON that others write for it.

use parquet::basic::{LogicalType, TimeUnit};
use parquet::record::{Field, Row};
use parquet::schema::types::Type;
use serde_json::{Map, Number, Value};

use super::super::fields::Result;
use super::budget::Budget;

/// What a value costs at least, in bytes.
const VALUE_BYTES: usize = 32;

/// The object of a row.
pub fn row(row: &Row, schema: &Type, budget: &Budget) -> Result<Map<String, Value>> {
    let mut object = Map::new();
    for ((name, field), kind) in row.get_column_iter().zip(schema.get_fields()) {
        let value = match (field, kind.get_basic_info().logical_type_ref()) {
            // A moment to the nanosecond, as pandas writes it, is a bare number to the crate.
            (Field::Long(nanos), Some(LogicalType::Timestamp(of)))
                if of.unit == TimeUnit::NANOS =>
            {
                value(&Field::TimestampMicros(nanos.div_euclid(1000)), budget)
            }
            _ => value(field, budget),
        };
        let value = value.map_err(|reason| format!("column `{name}` {reason}"))?;
        if object.insert(name.clone(), value).is_some() {
            return Err(format!("two columns are called `{name}`; rename one"));
        }
    }
    // An answer is compared as text, as a number or a boolean of JSONL is.
    if let Some(answer @ (Value::Number(_) | Value::Bool(_))) = object.get_mut("answer") {
        *answer = answer.to_string().into();
    }
    Ok(object)
}

fn value(field: &Field, budget: &Budget) -> Result<Value> {
    budget.take(VALUE_BYTES)?;
    let text = |text: String| {
        budget.take(text.len())?;
        Ok(Value::String(text))
    };
    match field {
        Field::Null => Ok(Value::Null),
        Field::Bool(value) => Ok((*value).into()),
        Field::Byte(value) => Ok((*value).into()),
        Field::Short(value) => Ok((*value).into()),
        Field::Int(value) => Ok((*value).into()),
        Field::Long(value) => Ok((*value).into()),
        Field::UByte(value) => Ok((*value).into()),
        Field::UShort(value) => Ok((*value).into()),
        Field::UInt(value) => Ok((*value).into()),
        Field::ULong(value) => Ok((*value).into()),
        Field::Float16(value) => float(f64::from(*value)),
        // In the fewest digits that tell it from its neighbours: 0.1, not 0.10000000149011612.
        Field::Float(value) => float(value.to_string().parse().unwrap_or(f64::from(*value))),
        Field::Double(value) => float(*value),
        Field::Str(value) => text(value.clone()),
        // Some writers don't say that their text is text.
        Field::Bytes(value) => match std::str::from_utf8(value.data()) {
            Ok(value) => text(value.into()),
            Err(_) => Err("holds bytes that are not text, as of an image; drop the column".into()),
        },
        Field::Decimal(_)
        | Field::Date(_)
        | Field::TimeMillis(_)
        | Field::TimeMicros(_)
        | Field::TimestampMillis(_)
        | Field::TimestampMicros(_) => text(field.to_string()),
        Field::Group(row) => {
            let fields = row.get_column_iter();
            object(fields.map(|(name, field)| Ok((name.clone(), field))), budget)
        }
        Field::ListInternal(list) => {
            list.elements().iter().map(|field| value(field, budget)).collect()
        }
        Field::MapInternal(map) => object(
            map.entries().iter().map(|(key, field)| match value(key, budget)? {
                Value::String(name) => Ok((name, field)),
                other => Ok((other.to_string(), field)),
            }),
            budget,
        ),
    }
}

fn object<'a>(
    fields: impl Iterator<Item = Result<(String, &'a Field)>>,
    budget: &Budget,
) -> Result<Value> {
    let mut object = Map::new();
    for field in fields {
        let (name, field) = field?;
        budget.take(name.len())?;
        let value = value(field, budget)?;
        if object.insert(name.clone(), value).is_some() {
            return Err(format!("has `{name}` twice"));
        }
    }
    Ok(Value::Object(object))
}

/// JSON has no infinities; what is not a number means, as with pandas, that there is nothing.
fn float(value: f64) -> Result<Value> {
    match Number::from_f64(value) {
        Some(number) => Ok(Value::Number(number)),
        None if value.is_nan() => Ok(Value::Null),
        None => Err(format!("holds {value}, which JSON can't write; drop the row")),
    }
}
