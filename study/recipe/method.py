"""The method of a reference calculation: how a structure is computed, and how its density is fitted."""

import re
from dataclasses import dataclass, field
from typing import Annotated, Literal

from tesseral.study.parsing.section import Range, Section

QM9_BASIS = "6-31G(2df,p)-QM9"
"""Name of the basis that QM9 was computed with: neither PySCF's `6-31G(2df,p)` nor the Basis Set Exchange's."""


def plain(basis: str) -> str:
    """A basis's name in lower case without spaces, `-` and `_`, in which PySCF's spellings of one basis agree.

    :param basis: as in a recipe.
    """
    return re.sub(r"[\s_-]", "", basis).lower()


@dataclass(frozen=True, kw_only=True)
class Method(Section):
    """The electronic-structure method, the fit of the density, and what is stored beyond the default quantities."""

    method: str = "PBE0"
    """`HF`, or any exchange-correlation functional by PySCF's name, such as `PBE0`."""
    unrestricted: bool = False
    """Use separate orbitals for each spin even without unpaired electrons. With unpaired electrons they always are."""
    basis: str = "def2-SVP"
    """All-electron orbital basis, by the name of PySCF or of the Basis Set Exchange; or `6-31G(2df,p)-QM9`, which has
    the exponents that QM9 was computed with. PySCF's and the Exchange's `6-31G(2df,p)` have others."""
    grid_level: Annotated[int, Range(ge=0, le=9)] = 2
    """Level of PySCF's grid for exchange and correlation, from 0 (coarse) to 9. `HF` does not use it."""
    density_fitting: bool | Literal["auto"] = "auto"
    """Use density fitting for the Coulomb and exchange integrals: faster, with errors of about 1e-5 hartree per atom.
    `auto`: only for large structures, each judged by its number of orbitals. Choose true or false if the energies of
    small and large structures are compared."""
    max_cycle: Annotated[int, Range(ge=1)] = 50
    """Largest number of cycles of the self-consistent field. If they do not converge, as many second-order cycles
    follow."""
    auxiliary_basis: str = "def2-universal-jfit"
    """Auxiliary basis of the density, by the name of PySCF or of the Basis Set Exchange. Or a basis that is generated
    from the orbital basis: `even-tempered`, or `autoaux` (Stoychev, Auer, Neese, J. Chem. Theory Comput. 13, 554,
    2017)."""
    decontracted: bool = True
    """Make every primitive of the auxiliary basis a shell of its own."""
    metric: Literal["coulomb", "overlap"] = "coulomb"
    """What the density fit minimises. `coulomb`: the Coulomb self-energy of the error, ∫∫ΔρΔρ′/r. `overlap`: ∫Δρ²."""
    constrain_charge: bool = True
    """Constrain the fitted density to the exact number of electrons."""
    quantities: tuple[Literal["forces", "polarizability", "charges"], ...] = ()
    """Quantities that are stored beyond the default ones: energy, orbital energies, multipoles and density."""
    charge_scheme: Literal["hirshfeld", "iao"] = "iao"
    """Scheme of the partial charges. `hirshfeld`: Hirshfeld's shares of the density. `iao`: populations of intrinsic
    atomic orbitals."""
    max_memory: Annotated[int, Range(ge=100)] = field(default=2000, repr=False)
    """Memory limit of a calculation, MB. Integrals that do not fit are computed again in each cycle. The results do not
    depend on it."""
