"""Addresses of OPC UA points."""

import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opcua_mine import point

from connectors.opcua.nodes import (
    OPCUA_NAMESPACE,
    AddressFault,
    NodeAddress,
    address_problems,
    namespace_index,
    parse_address,
)

GUID = "09087e75-8e5e-499b-954f-f2a9603db28a"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("nsu=urn:mine;s=fan.1", NodeAddress("urn:mine", "fan.1")),
        ("nsu=http://a.b/c;i=4294967295", NodeAddress("http://a.b/c", 4294967295)),
        (f"nsu=urn:mine;g={GUID}", NodeAddress("urn:mine", uuid.UUID(GUID))),
        ("nsu=urn:mine;b=TWluZQ==", NodeAddress("urn:mine", b"Mine")),
        ("i=2258", NodeAddress(OPCUA_NAMESPACE, 2258)),
        ("nsu=urn:a%3Bb%25c;s=x", NodeAddress("urn:a;b%c", "x")),
        ("nsu=urn:mine;s=a;b=c;i=1", NodeAddress("urn:mine", "a;b=c;i=1")),
        ("nsu=urn:mine;s= 主扇 风机 1#", NodeAddress("urn:mine", " 主扇 风机 1#")),
    ],
    ids=["text", "number", "guid", "opaque", "namespace 0", "escaped URI", "separators in text", "spaces, Chinese"],
)
def test_an_address_names_its_node(text, address):
    assert parse_address(text) == address


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "empty"),
        ("ns=2;s=fan", "ns= is an index"),
        ("svr=1;nsu=urn:a;s=x", "another server"),
        ("s=fan", "no namespace"),
        ("1/holding/100", "no namespace"),
        ("nsu=;s=x", "no URI"),
        ("nsu=urn:mine", "no identifier"),
        ("nsu= urn:mine;s=x", "space"),
        ("nsu=urn:mine;x=1", "none of"),
        ("nsu=urn:mine;", "none of"),
        ("nsu=urn:mine;s=", "0 characters"),
        ("nsu=urn:mine;s=" + "x" * 4097, "4097 characters"),
        ("nsu=urn:mine;i=-1", "no node number"),
        ("nsu=urn:mine;i=4294967296", "no node number"),
        ("nsu=urn:mine;i=1.0", "no node number"),
        ("nsu=urn:mine;i=１", "no node number"),
        ("nsu=urn:mine;g=09087e75", "no GUID"),
        ("nsu=urn:mine;b=!!", "no base64"),
        ("nsu=urn:mine;b=", "no base64"),
    ],
)
def test_a_text_that_is_no_address_is_refused_with_what_is_wrong(text, what):
    fault = parse_address(text)
    assert isinstance(fault, AddressFault)
    assert what in fault.what
    assert fault.expected


@given(st.text())
@settings(deadline=None, max_examples=200)
def test_any_text_is_an_address_or_a_fault(text):
    assert isinstance(parse_address(text), NodeAddress | AddressFault)


@given(st.text(min_size=1).filter(lambda uri: uri == uri.strip()), st.text(min_size=1, max_size=50))
@settings(deadline=None, max_examples=100)
def test_escaping_of_a_uri_is_undone(uri, name):
    escaped = uri.replace("%", "%25").replace(";", "%3B")
    assert parse_address(f"nsu={escaped};s={name}") == NodeAddress(uri, name)


def test_problems_name_file_line_and_column_of_each_bad_address():
    points = [point("a", "ns=1;s=x", line=7), point("b", "nsu=urn:m;s=x", line=8), point("c", "s=x", line=9)]
    problems = address_problems(points)
    assert [(p.file, p.line, p.key) for p in problems] == [("points.csv", 7, "address"), ("points.csv", 9, "address")]


@pytest.mark.parametrize(
    ("namespaces", "index"),
    [
        (["http://opcfoundation.org/UA/", "urn:srv", "urn:mine"], 2),
        (["http://opcfoundation.org/UA/", "urn:mine", "urn:srv"], 1),
        (["http://opcfoundation.org/UA/", "urn:MINE"], None),
        ([], None),
    ],
    ids=["last", "reordered", "other case is another URI", "none"],
)
def test_a_namespace_is_found_by_its_uri_whatever_its_index(namespaces, index):
    assert namespace_index(NodeAddress("urn:mine", "x"), namespaces) == index


def test_namespace_zero_needs_no_array():
    assert namespace_index(NodeAddress(OPCUA_NAMESPACE, 2258), []) == 0
