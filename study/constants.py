"""Physical constants and chemical symbols that more than one room uses.

The constants have the values of PySCF (CODATA 2010 and 2014), to the last bit: positions that PySCF computed, and those
that are converted here, are the same numbers. A test compares them. Sizes of other units are in `parsing/units.py`.
"""

BOHR = 0.52917721092
"""Å in one bohr."""
HARTREE_WAVENUMBER = 219474.63111558527
"""1/cm in one hartree."""
DALTON = 1822.8884858012984
"""Electron masses in one dalton."""
BOLTZMANN = 3.166810518619021e-06
"""Boltzmann's constant, hartree/K."""

_SYMBOLS = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb "
    "Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au "
    "Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts "
    "Og"
)
SYMBOLS: tuple[str, ...] = tuple(_SYMBOLS.split())
"""Chemical symbols, H first: Z is the position counted from 1."""
