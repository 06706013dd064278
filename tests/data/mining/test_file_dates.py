from codequarry.data.git_repository import open_repository
from codequarry.data.mining.file_dates import last_changes


def test_each_file_has_the_time_of_its_last_change(repository):
    repository.commit("One", {"a.py": "1\n", "b c/é.py": "1\n", "gone.py": "1\n"})
    repository.commit("Two", {"a.py": "2\n"})
    newest = repository.commit("Three", {"gone.py": None})
    repository.commit("Four", {"a.py": "4\n"})
    opened = open_repository(str(repository.folder))
    for path in ("a.py", "b c/é.py"):
        told = int(repository.git("log", "-1", "--format=%ct", newest, "--", path))
        assert last_changes(opened, newest)[path] == told
