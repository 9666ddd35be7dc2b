"""The method of a reference calculation: how a structure is computed, and how its density is fitted."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from tesseral.study.parsing.section import Range, Section


@dataclass(frozen=True, kw_only=True)
class Method(Section):
    """How a structure is computed, how its density is fitted, and what is stored beyond the default quantities."""

    method: str = "PBE0"
    """`HF`, or any exchange-correlation functional that PySCF knows by name."""
    unrestricted: bool = False
    """Orbitals of their own for each spin even without unpaired electrons; with unpaired electrons always."""
    basis: str = "def2-SVP"
    """Orbital basis for all electrons, by PySCF's name or the Basis Set Exchange's."""
    grid_level: Annotated[int, Range(ge=0, le=9)] = 2
    """PySCF's grid for exchange and correlation, 0 (coarse) to 9; unused by HF."""
    density_fitting: bool | Literal["auto"] = "auto"
    """Fit the Coulomb and exchange integrals of the field: some 1e-5 hartree an atom less exact, for speed.
    `auto`: from `tesseral.models.reference.calculation.mean_field.DENSITY_FITTING_ORBITALS` orbitals on, structure by
    structure; say true or false where energies of small and large structures are compared."""
    max_cycle: Annotated[int, Range(ge=1)] = 50
    """Cycles of the self-consistent field; where they do not converge, as many second-order ones follow."""
    auxiliary_basis: str = "def2-universal-jfit"
    """Basis of the density fit, by PySCF's name or the Basis Set Exchange's; or made from the orbital basis:
    `even-tempered`, or `autoaux` (Stoychev, Auer, Neese, J. Chem. Theory Comput. 13, 554, 2017)."""
    decontracted: bool = True
    """Each primitive of the auxiliary basis becomes a shell of its own."""
    metric: Literal["coulomb", "overlap"] = "coulomb"
    """What the fit minimises: the Coulomb energy of the error's density, or ∫(error)²."""
    constrain_charge: bool = True
    """The fitted density holds the right number of electrons."""
    quantities: tuple[Literal["forces", "polarizability", "charges"], ...] = ()
    """What is stored beyond energy, orbital energies, multipoles and density."""
    charge_scheme: Literal["hirshfeld", "iao"] = "iao"
    """Of the partial charges: shares of the density after Hirshfeld, or populations of intrinsic atomic orbitals."""
    max_memory: Annotated[int, Range(ge=100)] = field(default=2000, repr=False)
    """Bound of a calculation's memory, megabytes: integrals beyond it are computed again in each cycle. It changes
    no number, and a file made with another bound is the same file."""
