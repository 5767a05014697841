# Bash divides words at colons, too, and wants only what follows the last one.
_sessionledger() {
    local IFS=$'\n' line=${COMP_LINE:0:COMP_POINT}
    local word=${line##*[[:space:]]}
    COMPREPLY=($(_SESSIONLEDGER_COMPLETE=complete_bash COMP_WORDS=$line sessionledger))
    [[ $word == *:* ]] && COMPREPLY=("${COMPREPLY[@]#"${word%"${word##*:}"}"}")
}
complete -o default -F _sessionledger sessionledger
