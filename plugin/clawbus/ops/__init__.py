"""Operations: a company's processes on this machine, changes of org.toml, other machines, the doctor."""
