//! Python's values as MessagePack, and back, without a value in between.

use asgi_redis::PackedMessage;
use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyInt, PyList, PyMemoryView, PyString, PyTuple,
};
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};

use crate::fault::exception;

/// How deep lists and dicts may be nested, as messages of the layer may.
const MAX_DEPTH: usize = 64;

/// Packs a value.
///
/// Fails with a `TypeError` that names the place of what MessagePack does not know, and with `MessageTooLarge` for what is
/// nested too deeply.
pub(crate) fn pack(value: &Bound<'_, PyAny>) -> PyResult<PackedMessage> {
    let mut packer = Packer { bytes: Vec::with_capacity(128) };
    packer.value(value, 0)?;
    Ok(PackedMessage::from_bytes(packer.bytes))
}

struct Packer {
    bytes: Vec<u8>,
}

impl Packer {
    fn value(&mut self, value: &Bound<'_, PyAny>, depth: usize) -> PyResult<()> {
        if let Ok(text) = value.cast::<PyString>() {
            self.text(text)
        } else if let Ok(dict) = value.cast::<PyDict>() {
            self.dict(dict, depth)
        } else if let Ok(truth) = value.cast::<PyBool>() {
            self.bytes.push(if truth.is_true() { 0xc3 } else { 0xc2 });
            Ok(())
        } else if let Ok(number) = value.cast::<PyInt>() {
            self.int(number)
        } else if value.is_none() {
            self.bytes.push(0xc0);
            Ok(())
        } else if let Ok(list) = value.cast::<PyList>() {
            self.open(depth, value.py())?;
            self.head(list.len(), 0x90, 0x0f, &[(0xdc, 2), (0xdd, 4)])?;
            self.items(list.iter(), depth)
        } else if let Ok(number) = value.cast::<PyFloat>() {
            self.bytes.push(0xcb);
            self.bytes.extend_from_slice(&number.value().to_be_bytes());
            Ok(())
        } else if let Ok(bytes) = value.cast::<PyBytes>() {
            self.binary(bytes.as_bytes())
        } else if let Ok(tuple) = value.cast::<PyTuple>() {
            self.open(depth, value.py())?;
            self.head(tuple.len(), 0x90, 0x0f, &[(0xdc, 2), (0xdd, 4)])?;
            self.items(tuple.iter(), depth)
        } else if let Ok(bytes) = value.cast::<PyByteArray>() {
            self.binary(&bytes.to_vec())
        } else if let Ok(view) = value.cast::<PyMemoryView>() {
            let bytes = view.call_method0("tobytes")?;
            self.binary(bytes.cast::<PyBytes>()?.as_bytes())
        } else {
            Err(PyTypeError::new_err(format!(
                "{} cannot be sent; send text, numbers, bytes, lists and dicts, such as its str() or isoformat()",
                kind(value)
            )))
        }
    }

    fn items<'py>(&mut self, items: impl Iterator<Item = Bound<'py, PyAny>>, depth: usize) -> PyResult<()> {
        for (index, item) in items.enumerate() {
            self.value(&item, depth + 1).map_err(|error| at(item.py(), error, &index.to_string()))?;
        }
        Ok(())
    }

    fn dict(&mut self, dict: &Bound<'_, PyDict>, depth: usize) -> PyResult<()> {
        self.open(depth, dict.py())?;
        self.head(dict.len(), 0x80, 0x0f, &[(0xde, 2), (0xdf, 4)])?;
        for (key, value) in dict.iter() {
            if let Ok(text) = key.cast::<PyString>() {
                self.text(text)?;
            } else if key.is_none() || key.is_instance_of::<PyInt>() || key.is_instance_of::<PyBytes>() {
                self.value(&key, depth + 1)?;
            } else {
                return Err(PyTypeError::new_err(format!(
                    "a key of a dict is {}; keys that can be sent are text, whole numbers, bytes and None",
                    kind(&key)
                )));
            }
            self.value(&value, depth + 1).map_err(|error| {
                let place = key.repr().map_or_else(|_| "?".to_owned(), |key| key.to_string());
                at(value.py(), error, &place)
            })?;
        }
        Ok(())
    }

    fn open(&self, depth: usize, py: Python<'_>) -> PyResult<()> {
        if depth < MAX_DEPTH {
            return Ok(());
        }
        let text = format!("the message is nested more than {MAX_DEPTH} levels deep; send a flatter one");
        Err(exception(py, &asgi_redis::Error::new(asgi_redis::ErrorKind::MessageTooLarge, text)))
    }

    fn text(&mut self, text: &Bound<'_, PyString>) -> PyResult<()> {
        let text = text.to_cow()?;
        self.head(text.len(), 0xa0, 0x1f, &[(0xd9, 1), (0xda, 2), (0xdb, 4)])?;
        self.bytes.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn binary(&mut self, bytes: &[u8]) -> PyResult<()> {
        self.head(bytes.len(), 0, 0, &[(0xc4, 1), (0xc5, 2), (0xc6, 4)])?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Writes a length: in the marker if it fits, else behind the first marker with enough bytes.
    fn head(&mut self, length: usize, short: u8, most: usize, long: &[(u8, usize)]) -> PyResult<()> {
        if short != 0 && length <= most {
            self.bytes.push(short | u8::try_from(length)?);
            return Ok(());
        }
        let bytes = u32::try_from(length)
            .map_err(|_| PyValueError::new_err(format!("a value of {length} parts is too large to send")))?
            .to_be_bytes();
        let fits = |width: usize| width == 4 || length < 1 << (8 * width);
        for (marker, width) in long {
            if fits(*width) {
                self.bytes.push(*marker);
                self.bytes.extend(bytes.iter().skip(4 - width));
                return Ok(());
            }
        }
        Ok(())
    }

    fn int(&mut self, number: &Bound<'_, PyInt>) -> PyResult<()> {
        if let Ok(number) = number.extract::<i64>() {
            // The shortest form, as Python's msgpack has it.
            match number {
                -0x20..=0x7f => self.bytes.extend(number.to_be_bytes().last()),
                _ if u8::try_from(number).is_ok() => self.tail(0xcc, number.to_be_bytes(), 1),
                _ if u16::try_from(number).is_ok() => self.tail(0xcd, number.to_be_bytes(), 2),
                _ if u32::try_from(number).is_ok() => self.tail(0xce, number.to_be_bytes(), 4),
                _ if number >= 0 => self.tail(0xcf, number.to_be_bytes(), 8),
                _ if i8::try_from(number).is_ok() => self.tail(0xd0, number.to_be_bytes(), 1),
                _ if i16::try_from(number).is_ok() => self.tail(0xd1, number.to_be_bytes(), 2),
                _ if i32::try_from(number).is_ok() => self.tail(0xd2, number.to_be_bytes(), 4),
                _ => self.tail(0xd3, number.to_be_bytes(), 8),
            }
            return Ok(());
        }
        let Ok(number) = number.extract::<u64>() else {
            return Err(PyOverflowError::new_err(
                "a whole number of more than 64 bits cannot be sent; send it as text",
            ));
        };
        self.tail(0xcf, number.to_be_bytes(), 8);
        Ok(())
    }

    fn tail(&mut self, marker: u8, bytes: [u8; 8], width: usize) {
        self.bytes.push(marker);
        self.bytes.extend(bytes.iter().skip(8 - width));
    }
}

/// What a value is, in words, without its content.
fn kind(value: &Bound<'_, PyAny>) -> String {
    let class = value.get_type();
    class.fully_qualified_name().map_or_else(|_| "this".to_owned(), |name| format!("a {name}"))
}

/// Adds the place to a `TypeError`.
fn at(py: Python<'_>, error: PyErr, place: &str) -> PyErr {
    if !error.get_type(py).is(py.get_type::<PyTypeError>()) {
        return error;
    }
    let text = error.value(py).to_string();
    PyTypeError::new_err(match text.strip_prefix("at [") {
        Some(rest) => format!("at [{place}][{rest}"),
        None => format!("at [{place}]: {text}"),
    })
}

/// Unpacks a message.
pub(crate) fn unpack(py: Python<'_>, message: &PackedMessage) -> PyResult<Py<PyAny>> {
    let checked = PackedMessage::from_bytes_checked(message.as_bytes().clone());
    let message = checked.map_err(|error| exception(py, &error))?;
    let mut source = rmp_serde::Deserializer::from_read_ref(&message.as_bytes()[..]);
    Seed(py).deserialize(&mut source).map(Bound::unbind).map_err(|error| {
        let text = format!("a message of {} bytes cannot be read: {error}", message.len());
        exception(py, &asgi_redis::Error::new(asgi_redis::ErrorKind::Decode, text))
    })
}

/// Builds one value.
#[derive(Clone, Copy)]
struct Seed<'py>(Python<'py>);

impl<'de, 'py> DeserializeSeed<'de> for Seed<'py> {
    type Value = Bound<'py, PyAny>;

    fn deserialize<D: serde::Deserializer<'de>>(self, source: D) -> Result<Self::Value, D::Error> {
        source.deserialize_any(self)
    }
}

impl<'de, 'py> Visitor<'de> for Seed<'py> {
    type Value = Bound<'py, PyAny>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("text, a number, bytes, a list or a map")
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(PyBool::new(self.0, value).to_owned().into_any())
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(PyInt::new(self.0, value).into_any())
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(PyInt::new(self.0, value).into_any())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(PyFloat::new(self.0, value).into_any())
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(PyString::new(self.0, value).into_any())
    }

    fn visit_bytes<E: serde::de::Error>(self, value: &[u8]) -> Result<Self::Value, E> {
        Ok(PyBytes::new(self.0, value).into_any())
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        Ok(self.0.None().into_bound(self.0))
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        self.visit_unit()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let list = PyList::empty(self.0);
        while let Some(item) = items.next_element_seed(self)? {
            list.append(item).map_err(A::Error::custom)?;
        }
        Ok(list.into_any())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let dict = PyDict::new(self.0);
        while let Some(key) = entries.next_key_seed(self)? {
            let value = entries.next_value_seed(self)?;
            dict.set_item(key, value).map_err(A::Error::custom)?;
        }
        Ok(dict.into_any())
    }
}
