"""The fit floor stands beside every error of a density."""

import pyarrow as pa
import pyarrow.parquet as pq

from tesseral.analysis.figures.curve_figures import learning_figures
from tesseral.analysis.figures.error_figures import error_figures
from tesseral.analysis.figures.figure import by_group
from tesseral.analysis.report.findings import limits
from tesseral.analysis.statistics.fit_floor import fit_errors, floor_details
from tesseral.analysis.statistics.results import analyse
from tesseral.analysis.tables.learning_curves import learning_curves
from tesseral.analysis.tables.load import load
from tesseral.analysis.tables.study_info import ReferenceInfo
from tests.support.dipole_study import RELATIVE, dipole_tables
from tests.support.report_page import tooltips, words
from tests.support.synthetic_study import info, table, trial_rows


def reference(path, columns, **metadata):
    made = pa.table({"method": ["PBE0"] * 3, "basis": ["def2-SVP"] * 3, "converged": [True, True, False]} | columns)
    pq.write_table(made.replace_schema_metadata({f"tesseral.{k}": v for k, v in metadata.items()}), path)


def test_the_floor_stands_beside_errors_of_a_density(crossed, crossed_page, crossed_results):
    text = words(crossed_page)
    floor = "the fit itself deviates from the SCF density by ε = 1.06 %, the fit floor."
    assert any(floor in sentence for sentence in limits(crossed_results))
    errors = "0.00120 e in the number of electrons, 0.00340 e bohr in the dipole and 0.00800 % in the self-repulsion"
    assert f"Mean absolute errors of the fit: {errors} energy." in text
    alone = load(table(trial_rows()), [], [], info())
    for name in ("error-by-arm", "error-against-cost"):
        (figure,) = [figure for figure in error_figures(alone, analyse(alone).arms) if figure.name == name]
        assert "fit floor: 1.06 %" in tooltips(figure)
        assert figure.caption.endswith("Dashed: the fit floor, ε of the fitted density against the SCF density.")
    rounding = ReferenceInfo(fit_error=1.0, electron_error=2e-15, dipole_error=0.5)
    misses = "of the fit: less than 10⁻⁶ e in the number of electrons and 0.500 e bohr in the dipole."
    assert misses in " ".join(floor_details(info(reference=rounding)))
    sections = by_group(
        crossed, lambda part: [*error_figures(part, analyse(part).arms), *learning_figures(part, learning_curves(part))]
    )
    for section in sections:
        for figure in section.figures:
            if not figure.name.startswith("change"):
                assert figure.caption.endswith("fit floor is 1.06 %.") == (section.title == "Density")
    unknown = info(reference=ReferenceInfo(method="PBE0"))
    assert "its own error against the SCF density, the fit floor, is unknown" in floor_details(unknown)[0]
    bare = load(table(trial_rows()), [], [], unknown)
    assert not any("Dashed" in figure.caption for figure in error_figures(bare, analyse(bare).arms))
    assert fit_errors(dipole_tables(RELATIVE).study) is None
    assert floor_details(dipole_tables(RELATIVE).study) == []
