import pytest

from codequarry.data.sources.eval_readers.codexglue import read_codexglue_java_cs

# Lines of the source as they are; the first Java method stands there twice, with two translations.
JAVA = (
    "public RevFilter clone() {return new Binary(a.clone(), b.clone());}\n"
    "public ObjectId getObjectId() {return objectId;}\n"
    "public RevFilter clone() {return new Binary(a.clone(), b.clone());}\n"
)
CSHARP = (
    "public override TreeFilter Clone(){return new AndTreeFilter.Binary(a.Clone(), b.Clone());}\n"
    "public virtual ObjectId GetObjectId(){return objectId;}\n"
    "public override RevFilter Clone(){return new AndRevFilter.Binary(a.Clone(), b.Clone());}\n"
)


def test_a_method_that_stands_there_twice_has_two_right_answers() -> None:
    found = read_codexglue_java_cs([("a/test.txt.java", JAVA.encode()), ("a/test.txt.cs", CSHARP.encode())])
    assert found.relevant == {"q0": {"d0": 1, "d2": 1}, "q1": {"d1": 1}}
    assert found.documents["d2"].startswith("public override RevFilter Clone()")


def test_files_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="4 lines and the C# file 3"):
        read_codexglue_java_cs([("a.java", JAVA.encode()), ("a.cs", b"one\ntwo\n")])
