#compdef sessionledger
_sessionledger() {
    local -a found
    local line="${words[1,CURRENT]}"
    found=("${(@f)$(_SESSIONLEDGER_COMPLETE=complete_zsh COMP_WORDS=$line sessionledger)}")
    if [[ -n $found ]]; then _describe sessionledger found; else _files; fi
}
if [[ $funcstack[1] == _sessionledger ]]; then
    _sessionledger "$@"
else
    compdef _sessionledger sessionledger
fi
