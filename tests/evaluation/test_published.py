"""Published tables read back, and set beside ours."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from sitsfusion.errors import InputError, ReadError
from sitsfusion.evaluation.paper import paper_rows
from sitsfusion.evaluation.published import beside, read_published
from sitsfusion.evaluation.results import Result
from sitsfusion.evaluation.tables import as_csv

HEAD = "\t" + (
    "name doy clear_doy clear_pixel_rate closest_doy closest_joint_doy local_density local_joint_density "
    "pred_pixel_rate"
).replace(" ", "\t")
IMAGE = "31TCJ_12\t{doy}\t{clear}\t0.75\t5.0\t3.0\t0.8\t0.9\t1.0"


def write(folder: Path, name: str, columns: str, *lines: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("\n".join([f"{HEAD}\t{columns}", *lines]) + "\n")
    return folder / name


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    folder = tmp_path / "paper" / "GAPS" / "tamrfsits"
    metrics = ("rmse", "nrmse", "brisque", "frr", "target_brisque")
    columns = "\t".join(["sam", *(f"{metric}_{band}" for metric in metrics for band in ("b2", "lst"))])
    clear, masked = IMAGE.format(doy=7, clear="True"), IMAGE.format(doy="9.0", clear="False")
    write(
        folder, "lr_metrics.csv", columns,
        f"1\t{clear}\t0.05\t0.01\t1.5\t0.1\t0.005\t20\t100.0\t-1\t2\t30\t101",
        f"0\t{masked}\t\t0.02\t\t\t\t\t\t\t\t\t",
    )  # fmt: skip
    write(folder, "hr_metrics.csv", "rmse_b8a\tbrisque_b8a\tfrr_b8a", f"0\t{clear}\t0.03\t100.0\t0.5")  # release 1.0.0
    return tmp_path


def test_tables_become_rows(tables: Path) -> None:
    rows = read_published(tables, date(2022, 1, 1))
    found = {(r["role"], r["day"], r["band"]): r for r in rows}
    assert list(found) == [
        ("fine", 7, "B8A"), ("coarse", 7, "B02"), ("coarse", 7, "LST"), ("coarse", 7, "all"),
        ("coarse", 9, "B02"), ("coarse", 9, "LST"), ("coarse", 9, "all"),
    ]  # fmt: skip
    lst = found["coarse", 7, "LST"]
    assert {name: lst[name] for name in ("site", "strategy", "method", "group", "date", "reference")} == {
        "site": "31TCJ_12", "strategy": "GAPS", "method": "tamrfsits", "group": "clear", "date": "2022-01-08",
        "reference": "observed",
    }  # fmt: skip
    assert (lst["clear_share"], lst["closest_days"], lst["closest_joint_days"]) == (0.75, 5, 3)
    assert (lst["local_density"], lst["local_joint_density"]) == (0.8, 0.9)
    assert (lst["rmse"], lst["nrmse"], lst["frr"], lst["target_brisque"]) == (1.5, 0.005, 2, 101)
    assert lst["brisque"] is None  # 100: it could not be computed
    assert found["fine", 7, "B8A"]["brisque"] == 100
    assert found["fine", 7, "B8A"]["nrmse"] is None
    assert found["coarse", 7, "all"]["sam"] == 0.05
    assert found["coarse", 9, "B02"]["group"] == "masked"
    assert found["coarse", 9, "LST"]["rmse"] is None
    groups = [row["band_group"] for row in rows[:4]]
    assert groups == ["fine 20 m", "coarse 30 m", "temperature", "coarse all bands"]


def test_day_0_by_site_or_unknown(tables: Path) -> None:
    assert {row["date"] for row in read_published(tables)} == {""}
    dates = {row["date"] for row in read_published(tables, {"31TCJ_12": date(2022, 2, 1)})}
    assert dates == {"2022-02-08", "2022-02-10"}
    with pytest.raises(InputError, match=r"'31TCJ_12' cannot be used; .* whose day 0 is given"):
        read_published(tables, {"31TCJ_24": date(2022, 2, 1)})


def ours(day: int, band: str, rmse: float | None, **other: object) -> dict[str, object]:
    return {
        "site": "31TCJ_12", "strategy": "GAPS", "method": "tamrfsits", "reference": "observed", "role": "coarse",
        "group": "clear" if day == 7 else "masked", "band": band, "day": day, "date": f"2022-01-{day + 1:02d}",
        "rmse": rmse, **other,
    }  # fmt: skip


@pytest.mark.parametrize("origin", [None, date(2022, 1, 1)])
def test_both_beside_each_other(tables: Path, origin: date | None) -> None:
    rows = [
        ours(7, "B02", 0.03), ours(9, "B02", 0.02), ours(11, "B02", 9.0), ours(9, "LST", 1.0), ours(7, "LST", None),
        ours(7, "B02", 5.0, reference="truth"), ours(7, "B02", 5.0, method="naive"), ours(7, "all", None, sam=0.04),
    ]  # fmt: skip
    assert beside(rows, read_published(tables, origin)) == [
        {
            "strategy": "GAPS", "method": "tamrfsits", "group": group, "role": "coarse", "band": band, "metric": metric,
            "images": 1, "ours": mine, "published": theirs, "difference": pytest.approx(mine - theirs),
        }
        for group, band, metric, mine, theirs in (
            ("clear", "B02", "rmse", 0.03, 0.01), ("clear", "all", "sam", 0.04, 0.05),
            ("masked", "B02", "rmse", 0.02, 0.02),
        )
    ]  # fmt: skip


def test_means_over_common_images(tables: Path) -> None:
    extra = {**read_published(tables)[1], "site": "other", "rmse": 0.03}
    found = beside([ours(7, "B02", 0.02), ours(7, "B02", 0.06, site="other")], [*read_published(tables), extra])
    assert [(row["images"], row["ours"], row["published"]) for row in found] == [(2, 0.04, 0.02)]


def test_our_own_tables_are_read_back(tmp_path: Path) -> None:
    rows = [
        {
            "reference": "observed", "group": "masked", "role": "fine", "band": band, "band_group": "fine 10 m",
            "date": f"2022-01-{day + 1:02d}", "day": day, "clear_share": 0.5, "closest_days": 3.0,
            "closest_joint_days": 1.0, "local_density": 0.9, "local_joint_density": 0.95, "count": 10, "coverage": 1.0,
            "rmse": 0.01 * day, "nrmse": None, "frr": -0.5,
        }
        for day in (3, 8) for band in ("B02", "B8A")
    ]  # fmt: skip
    result = Result("site_GAPS", "site", "GAPS", "naive", "id", "done", rows=tuple(rows))
    file = tmp_path / "GAPS" / "naive" / "hr_metrics.csv"
    file.parent.mkdir(parents=True)
    file.write_text(as_csv(paper_rows([result], "fine"), delimiter="\t"))
    found = [row for row in read_published(tmp_path, date(2022, 1, 1)) if row["band"] != "all"]
    names = ("date", "day", "band", "group", "clear_share", "closest_days", "rmse", "nrmse", "frr")
    assert [[row[name] for name in names] for row in found] == [[row[name] for name in names] for row in rows]
    assert all(row["difference"] == 0 for row in beside(result.tidy(), found))


@pytest.mark.parametrize(
    ("columns", "line", "expected"),
    [
        ("rmse_b9", "", "it has b9"),
        ("sam", "", "it has none"),
        ("rmse_b2", "0\t" + IMAGE.format(doy="x", clear="True") + "\t1", "line 2: could not convert"),
        ("rmse_b2", "0\t" + IMAGE.format(doy="1", clear="yes") + "\t1", "line 2: 'yes'"),
        ("rmse_b2", "0\t" + IMAGE.format(doy="1", clear="True") + "\tmuch", "line 2: could not convert"),
        ("rmse_b2", "0\t31TCJ_12", "line 2: "),
    ],
)
def test_what_is_refused(tmp_path: Path, columns: str, line: str, expected: str) -> None:
    write(tmp_path / "s" / "m", "lr_metrics.csv", columns, line)
    with pytest.raises(InputError, match=r"lr_metrics\.csv") as caught:
        read_published(tmp_path)
    assert expected in str(caught.value)


def test_no_table(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"no lr_metrics\.csv or hr_metrics\.csv lies below"):
        read_published(tmp_path)
    (tmp_path / "lr_metrics.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ReadError, match="cannot be read"):
        read_published(tmp_path)
